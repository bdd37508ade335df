"""Requests and answers, apart from how they travel."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Drop(Enum):
    """Ways of not answering."""

    RESET = "reset"
    HANG = "hang"


# By the kind of the fault.
DROPS = {"reset": Drop.RESET, "timeout": Drop.HANG}


@dataclass(slots=True)
class Request:
    """A request. Header names are lower case; ``target`` is path and query as sent."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    ip: str = "127.0.0.1"


@dataclass(slots=True)
class Response:
    """An answer, to be sent after ``delay`` seconds; ``done`` is called then. ``drop``: do not answer.

    ``raw`` is the answer of the data plane, rendered: head and body as they travel.
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: Drop | None = None
    done: Callable[[], None] | None = None
    raw: bytes | None = None


def json_response(status: int, body: Any, **headers: str) -> Response:
    """Return an answer with a JSON body."""
    content = json.dumps(body, separators=(",", ":")).encode()
    return Response(status, content, {"Content-Type": "application/json"} | headers)
