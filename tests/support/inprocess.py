"""boto3 against the sandbox without sockets: a botocore ``before-send`` handler that calls the sandbox object.

Requests are built, signed and parsed by botocore as ever; only the transport is missing. For unit tests of code that
takes a boto3 client, and for contract tests.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from sandbox.app import Sandbox
from sandbox.http import Drop, Request, Response

ENDPOINT = "http://sandbox.invalid"


class _Raw(io.BytesIO):
    """A body as botocore reads it."""

    def stream(self, **_: object) -> Iterator[bytes]:
        while chunk := self.read(65_536):
            yield chunk


def before_send(sandbox: Sandbox, sleep: Callable[[float], None] = time.sleep) -> Callable[..., AWSResponse]:
    """Return a handler for the event ``before-send.apigateway.*``."""

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        response = handle(sandbox, request, sleep)
        if response.drop is Drop.RESET:
            raise ConnectionClosedError(endpoint_url=request.url)
        if response.drop is Drop.HANG:
            raise ReadTimeoutError(endpoint_url=request.url)
        return AWSResponse(request.url, response.status, response.headers, _Raw(response.body))

    return answer


def handle(sandbox: Sandbox, request: AWSPreparedRequest, sleep: Callable[[float], None]) -> Response:
    """Pass a request that botocore prepared to the sandbox and wait as long as it says."""
    parts = urlsplit(request.url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    body = request.body or b""
    if hasattr(body, "read"):
        body = body.read()
    response = sandbox.handle(Request(request.method, target, headers, body))
    if response.delay:
        sleep(response.delay)
    if response.done is not None:
        response.done()
    return response


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def client(sandbox: Sandbox, sleep: Callable[[float], None] = time.sleep, **config: Any) -> Any:
    """Return a boto3 client whose calls go to the sandbox; one attempt a call unless ``retries`` says otherwise."""
    config.setdefault("retries", {"total_max_attempts": 1})
    made = boto3.client(
        "apigateway",
        endpoint_url=ENDPOINT,
        region_name="us-east-1",
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",
        config=Config(**config),
    )
    made.meta.events.register("before-send.apigateway.*", before_send(sandbox, sleep))
    return made


def invoke(sandbox: Sandbox, key: str | None = None, path: str = "/api", method: str = "GET") -> tuple[int, bytes]:
    """Call the data plane; return status and body."""
    response = sandbox.invoke(method, f"/_aws/execute-api/groceries/v1{path}", key, "127.0.0.1")
    assert response.raw is not None, f"not answered: {response.drop}"
    head, _, body = response.raw.partition(b"\r\n\r\n")
    return int(head.split()[1]), body
