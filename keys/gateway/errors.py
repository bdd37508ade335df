"""Every failure of a call, sorted once.

``TryLater``: the same call may work later. ``Permanent``: it will not, until a person changes something. ``NotFound``: what the call names
is not there. Each says in words what happened and what a person can do; none repeats a credential or a header.

Sources: error codes and texts as AWS answers them (developer guide, botocore's service model, answers recorded from AWS).
"""

import re
from enum import StrEnum

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from django.utils.translation import gettext as _

# A run this long is no word of a person: values of keys (ours have 52 characters, AWS's own 40) and tokens are.
_SECRET = re.compile(r"[0-9A-Za-z+/=_-]{36,}")
_LONGEST = 300


class Kind(StrEnum):
    """Why a call failed."""

    THROTTLED = "throttled"
    CONFLICT = "conflict"
    FULL = "full"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    CONNECTION = "connection"
    REFUSED = "refused"
    FORBIDDEN = "forbidden"
    DUPLICATE = "duplicate"
    CLASH = "clash"
    INVALID = "invalid"


# Failures of the gateway or of the way to it, not of what was asked: enough of them in a row open the circuit. FORBIDDEN is none: a role
# that may not delete keys can still sell them.
TROUBLE = frozenset({Kind.THROTTLED, Kind.UNAVAILABLE, Kind.UNKNOWN, Kind.CONNECTION, Kind.REFUSED})


class GatewayError(Exception):
    """A call failed; the message is fit for staff."""

    def __init__(self, words: str, kind: Kind | None = None) -> None:
        super().__init__(words)
        self.kind = kind

    @property
    def is_forbidden(self) -> bool:
        """Whether a right lacks."""
        return self.kind is Kind.FORBIDDEN


class TryLater(GatewayError):
    """The same call may work later. After UNKNOWN and UNAVAILABLE its work may have been done: look before trying again."""


class Permanent(GatewayError):
    """The same call will fail again until a person changes something."""


class NotFound(GatewayError):
    """The key or usage plan that the call names does not exist."""


def sort_error(error: Exception) -> GatewayError:
    """What a botocore or transport error means to us."""
    if isinstance(error, boto.ClientError):
        return _sort_answer(error)
    for classes, kind, words in _transport():
        if isinstance(error, classes):
            return TryLater(words, kind)
    if isinstance(error, boto.ParamValidationError):
        return Permanent(_("The call was not sent, because it is malformed: a defect of this software."), Kind.INVALID)
    words = _("The call failed in a way that is not known (%(name)s). It is tried again.") % {"name": type(error).__name__}
    return TryLater(words, Kind.UNKNOWN)


def no_whole_answer() -> str:
    return _("API Gateway gave no whole answer, so it is not known whether it did the work. That is looked up before the next try.")


def _transport() -> list[tuple[tuple[type[Exception], ...], Kind, str]]:
    return [
        (
            (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError, boto.NoAuthTokenError),
            Kind.REFUSED,
            _("There are no AWS credentials. Give the workers AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role."),
        ),
        (
            (boto.ConnectTimeoutError, boto.EndpointConnectionError, boto.ProxyConnectionError, boto.SSLError),
            Kind.CONNECTION,
            _("API Gateway cannot be reached. Check the workers' network; nothing was sent, and it is tried again."),
        ),
        (
            (boto.ReadTimeoutError, boto.ConnectionClosedError, boto.HTTPClientError, ResponseParserError),
            Kind.UNKNOWN,
            no_whole_answer(),
        ),
    ]


def _sort_answer(error: boto.ClientError) -> GatewayError:
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = clean(str(error.response.get("Error", {}).get("Message", "")))
    if status == 429 or status >= 500 or "Throttl" in code or code in {"LimitExceededException", "RequestLimitExceeded"}:
        return _sort_overload(status, code, message)
    if status == 409:
        return _sort_conflict(message)
    if status == 404:
        return _sort_not_found(message)
    if status == 403 and code == "AccessDeniedException":
        return _sort_forbidden(message)
    if status in {401, 403}:
        words = _("AWS refuses the workers' credentials (%(code)s). Check that they are valid and allow API Gateway.") % {
            "code": clean(code)
        }
        return TryLater(words, Kind.REFUSED)
    return Permanent(_("API Gateway refuses the call: %(message)s") % {"message": message}, Kind.INVALID)


def _sort_forbidden(message: str) -> TryLater:
    """IAM says no. Its sentence ends in the action, a method, and the resource, a path."""
    match = re.search(r"apigateway:(?P<method>[A-Z]+) on resource: arn:aws[a-z-]*:apigateway:[a-z0-9-]*::(?P<path>/\S*)", message)
    if match is None:
        return TryLater(_("AWS does not allow the workers this call: %(message)s") % {"message": message}, Kind.FORBIDDEN)
    words = _("AWS does not allow the workers apigateway:%(method)s on %(path)s. Add it to their policy (deploy/iam).")
    return TryLater(words % {"method": match["method"], "path": clean(match["path"])}, Kind.FORBIDDEN)


def _sort_overload(status: int, code: str, message: str) -> TryLater:
    if code == "LimitExceededException":
        words = _("API Gateway has no room: %(message)s. Remove keys, raise the limit or use another gateway.")
        return TryLater(words % {"message": message}, Kind.FULL)
    if status < 500:
        return TryLater(_("API Gateway asks for a slower pace. Nobody needs to do anything; it is tried again."), Kind.THROTTLED)
    words = _("API Gateway failed (%(status)d). Whether it did the work is looked up before the next try.")
    return TryLater(words % {"status": status}, Kind.UNAVAILABLE)


def _sort_conflict(message: str) -> GatewayError:
    """409 has three meanings, told apart by the message."""
    lowered = message.lower()
    if "concurrent modification" in lowered or "try again" in lowered:
        return TryLater(_("Somebody changed the same thing at API Gateway at the same moment. It is tried again."), Kind.CONFLICT)
    if "already exists" in lowered:
        words = _("API Gateway holds this credential under another key. Find that key there and delete it: %(message)s")
        return Permanent(words % {"message": message}, Kind.DUPLICATE)
    words = _("The key is in another usage plan for one of these stages. Take it out there: %(message)s")
    return Permanent(words % {"message": message}, Kind.CLASH)


def _sort_not_found(message: str) -> GatewayError:
    if "api stage" in message.lower():
        words = _("A stage of this tier does not exist at API Gateway. Deploy it, or change the tier's stages: %(message)s")
        return Permanent(words % {"message": message}, Kind.INVALID)
    return NotFound(message or _("It does not exist at API Gateway."))


def clean(message: str) -> str:
    """A message of AWS's as it may be stored and shown: nothing that looks like a credential, and not too long."""
    return _SECRET.sub("[hidden]", message)[:_LONGEST].strip().rstrip(".")
