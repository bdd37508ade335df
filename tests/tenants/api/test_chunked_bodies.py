"""Bodies without a length, over a real connection: many HTTP clients send them so."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenants.models import Token, User
from tests.support.api import token_for
from tests.support.web import WebProcess, web_process

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def send_in_chunks(web: WebProcess, secret: str, body: bytes) -> tuple[int, Any]:
    def chunks() -> Iterator[bytes]:
        for start in range(0, len(body), 40_000):
            yield body[start : start + 40_000]

    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    try:
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        connection.request("POST", "/api/v1/tokens", chunks(), headers, encode_chunked=True)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_they_are_read_like_others(alice: User, tmp_path: Path) -> None:
    secret = token_for(alice)
    body = json.dumps({"name": "In chunks", "scopes": ["keys:read"]}).encode()
    with web_process(tmp_path) as web:
        assert send_in_chunks(web, secret, body + b" " * 100_000)[0] == 201
        assert Token.objects.filter(name="In chunks").count() == 1
        status, problem = send_in_chunks(web, secret, body + b" " * 1_100_000)
        assert (status, problem["type"].rsplit("/", 2)[1]) == (413, "body-too-large")
