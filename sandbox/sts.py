"""STS: AssumeRole and GetCallerIdentity, in the query protocol that boto3 speaks (forms in, XML out)."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from sandbox.errors import ApiError
from sandbox.faults import Faults
from sandbox.http import DROPS, Request, Response
from sandbox.identity import Caller, Identities

_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


def handle(request: Request, caller: Caller, identities: Identities, faults: Faults) -> Response:
    """Answer a call. Faults name its operations as they name API Gateway's."""
    form = {name: values[0] for name, values in parse_qs(request.body.decode("utf-8", "replace")).items()}
    operation = form.get("Action", "")
    hitting = faults.hitting(operation) if operation in {"AssumeRole", "GetCallerIdentity"} else []
    delay = sum(fault.seconds for fault in hitting if fault.kind == "latency")
    drop = next((DROPS[fault.kind] for fault in hitting if fault.kind in {"reset", "timeout"}), None)
    try:
        for error in filter(None, (fault.error() for fault in hitting)):
            raise error
        response = _answer(operation, _result(operation, form, caller, identities))
    except ApiError as error:
        response = error_response(error)
    response.delay, response.drop = delay, drop
    return response


def error_response(error: ApiError) -> Response:
    """Return an error as STS writes it."""
    kind = "Sender" if error.status < 500 else "Receiver"
    text = f"<Error><Type>{kind}</Type><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
    return _xml(error.status, f'<ErrorResponse xmlns="{_NAMESPACE}">{text}<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>')


def _result(operation: str, form: dict[str, str], caller: Caller, identities: Identities) -> str:
    if operation == "GetCallerIdentity":
        return f"<Arn>{escape(caller.arn)}</Arn><UserId>{escape(caller.access_key)}</UserId><Account>{caller.account}</Account>"
    if operation != "AssumeRole":
        raise ApiError(400, "InvalidAction", f"Could not find operation {operation}")
    seconds = form.get("DurationSeconds", "3600")
    session = identities.assume(
        caller,
        role_arn=form.get("RoleArn", ""),
        session_name=form.get("RoleSessionName", ""),
        external_id=form.get("ExternalId", ""),
        seconds=int(seconds) if seconds.isascii() and seconds.isdigit() else 0,
    )
    expires = datetime.fromtimestamp(session.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f"<Credentials><AccessKeyId>{session.access_key}</AccessKeyId><SecretAccessKey>{session.secret}</SecretAccessKey>"
        f"<SessionToken>{session.token}</SessionToken><Expiration>{expires}</Expiration></Credentials>"
        f"<AssumedRoleUser><Arn>{escape(session.arn)}</Arn><AssumedRoleId>AROA:{session.access_key}</AssumedRoleId></AssumedRoleUser>"
    )


def _answer(operation: str, result: str) -> Response:
    about = f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
    return _xml(
        200, f'<{operation}Response xmlns="{_NAMESPACE}"><{operation}Result>{result}</{operation}Result>{about}</{operation}Response>'
    )


def _xml(status: int, text: str) -> Response:
    return Response(status, text.encode(), {"Content-Type": "text/xml"})
