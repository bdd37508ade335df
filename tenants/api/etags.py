"""Versions of what an endpoint shows (RFC 9110, 8.8.3 and 13.1)."""

import hashlib
from typing import Any

from rest_framework.request import Request

from tenants.api.problems import Problem
from tenants.api.wire import dumps


def etag_of(shown: Any) -> str:
    """A strong ETag of a representation."""
    return f'"{hashlib.sha256(dumps(shown)).hexdigest()[:32]}"'


def is_unchanged(request: Request, etag: str) -> bool:
    """Whether ``If-None-Match`` names this version: the answer is 304 then."""
    given = request.headers.get("If-None-Match", "")
    return given.strip() == "*" or etag in _listed(given, weak=True)


def check_unchanged(request: Request, etag: str) -> None:
    """Raise Problem (412) when ``If-Match`` is given and names another version. Call it with the row locked."""
    given = request.headers.get("If-Match")
    if given is not None and given.strip() != "*" and etag not in _listed(given, weak=False):
        raise Problem("precondition-failed", headers={"ETag": etag})


def _listed(header: str, *, weak: bool) -> set[str]:
    tags = {tag.strip() for tag in header.split(",")}
    return {tag.removeprefix("W/") for tag in tags} if weak else tags
