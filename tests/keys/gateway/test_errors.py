"""Every failure is sorted once. The texts are AWS's, as recorded."""

import pytest
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from keys.gateway.errors import TROUBLE, GatewayError, Kind, NotFound, Permanent, TryLater, sort_error

CONCURRENT = "Unable to complete operation due to concurrent modification. Please try again later."
URL = "https://apigateway.us-east-1.amazonaws.com/apikeys"
SECRET = "tgk" + "a1B2" * 12 + "c"


def answer(status: int, code: str, message: str = "") -> boto.ClientError:
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {"x-secret": "1"}},
    }
    return boto.ClientError(response, "AnyOperation")  # type: ignore[arg-type]


ANSWERS = [
    (429, "TooManyRequestsException", "Too Many Requests", TryLater, Kind.THROTTLED),
    (400, "ThrottlingException", "Rate exceeded", TryLater, Kind.THROTTLED),
    (429, "LimitExceededException", "API Keys limit exceeded", TryLater, Kind.FULL),
    (409, "ConflictException", CONCURRENT, TryLater, Kind.CONFLICT),
    (409, "ConflictException", "API Key already exists", Permanent, Kind.DUPLICATE),
    (409, "ConflictException", "cannot be added to the API Key", Permanent, Kind.CLASH),
    (404, "NotFoundException", "Invalid API Key identifier specified", NotFound, None),
    (404, "NotFoundException", "Invalid Usage Plan ID specified", NotFound, None),
    (404, "NotFoundException", "Invalid API Stage {api: a, stage: b} specified for usageplan c", Permanent, Kind.INVALID),
    (400, "BadRequestException", "API Key value should be at least 20 characters", Permanent, Kind.INVALID),
    (401, "UnauthorizedException", "", TryLater, Kind.REFUSED),
    (403, "UnrecognizedClientException", "The security token is invalid", TryLater, Kind.REFUSED),
    (403, "AccessDeniedException", "not authorized", TryLater, Kind.FORBIDDEN),
    (500, "InternalServerErrorException", "", TryLater, Kind.UNAVAILABLE),
    (503, "ServiceUnavailableException", "", TryLater, Kind.UNAVAILABLE),
]
TRANSPORT = [
    (boto.ConnectTimeoutError(endpoint_url=URL), TryLater, Kind.CONNECTION),
    (boto.EndpointConnectionError(endpoint_url=URL), TryLater, Kind.CONNECTION),
    (boto.SSLError(endpoint_url=URL, error="bad certificate"), TryLater, Kind.CONNECTION),
    (boto.ReadTimeoutError(endpoint_url=URL), TryLater, Kind.UNKNOWN),
    (boto.ConnectionClosedError(endpoint_url=URL), TryLater, Kind.UNKNOWN),
    (ResponseParserError("garbled"), TryLater, Kind.UNKNOWN),
    (boto.NoCredentialsError(), TryLater, Kind.REFUSED),
    (boto.ParamValidationError(report="missing"), Permanent, Kind.INVALID),
    (boto.BotoCoreError(), TryLater, Kind.UNKNOWN),
]


@pytest.mark.parametrize(("status", "code", "message", "sort", "kind"), ANSWERS)
def test_answer_is_sorted(status: int, code: str, message: str, sort: type[GatewayError], kind: Kind | None) -> None:
    error = sort_error(answer(status, code, message))

    assert (type(error), error.kind) == (sort, kind)
    assert str(error)


@pytest.mark.parametrize(("failure", "sort", "kind"), TRANSPORT)
def test_transport_failure_is_sorted(failure: Exception, sort: type[GatewayError], kind: Kind) -> None:
    error = sort_error(failure)

    assert (type(error), error.kind) == (sort, kind)


@pytest.mark.parametrize("status", [400, 404, 409, 429])
def test_no_message_holds_a_credential_or_a_header(status: int) -> None:
    words = str(sort_error(answer(status, "LimitExceededException" if status == 429 else "Any", f"Row 1 has key {SECRET} and so on")))

    assert SECRET not in words
    assert "x-secret" not in words
    assert "[hidden]" in words


def test_only_troubles_of_the_gateway_open_the_circuit() -> None:
    assert {kind for *_, kind in ANSWERS if kind} - TROUBLE == {
        Kind.FULL,
        Kind.CONFLICT,
        Kind.DUPLICATE,
        Kind.CLASH,
        Kind.INVALID,
        Kind.FORBIDDEN,
    }


def test_long_message_is_cut() -> None:
    assert len(str(sort_error(answer(400, "BadRequestException", "word " * 1000)))) < 400
