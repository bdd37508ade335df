"""The errors that API Gateway's control plane answers, as exceptions."""

from __future__ import annotations

CONCURRENT_MODIFICATION = "Unable to complete operation due to concurrent modification. Please try again later."  # seen on AWS


class ApiError(Exception):
    """An answer that is an error: an HTTP status, a code (``x-amzn-ErrorType``) and a message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def bad_request(message: str) -> ApiError:
    """400: the request is well formed and asks for something that is not allowed."""
    return ApiError(400, "BadRequestException", message)


def not_serializable(message: str) -> ApiError:
    """400: the body or a parameter is not what the protocol describes."""
    return ApiError(400, "SerializationException", message)


def not_found(message: str) -> ApiError:
    """404: the named resource does not exist."""
    return ApiError(404, "NotFoundException", message)


def conflict(message: str) -> ApiError:
    """409: duplicate value, stage clash or concurrent modification: clients tell them apart by the message."""
    return ApiError(409, "ConflictException", message)


def limit_exceeded(message: str) -> ApiError:
    """429: an account limit (number of keys, of plans) is reached. Retrying does not help."""
    return ApiError(429, "LimitExceededException", message)


def too_many_requests() -> ApiError:
    """429: called faster than the account's rates."""
    return ApiError(429, "TooManyRequestsException", "Too Many Requests")


def missing_authentication_token() -> ApiError:
    """403: what AWS answers to an unsigned request and to an unknown path or method."""
    return ApiError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
