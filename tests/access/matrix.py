"""Who may call what: the matrix as data, and how its cells are measured.

``matrix.txt`` holds a row a URL and method with one expected status a person. A URL that the project has and the file lacks fails the
test, so nobody adds a page without deciding who may open it. ``python -m tests.access.matrix`` prints what the project answers now,
for a person to read line by line before it is put into the file.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.core.cache import cache
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern

MATRIX = Path(__file__).with_name("matrix.txt")
PEOPLE = ("anonymous", "owner", "viewer", "other", "staff")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def routes(patterns: list[URLPattern | URLResolver] | None = None, prefix: str = "") -> Iterator[str]:
    """Every route of the project, as written: ``keys/<uuid:pk>/``."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + (str(pattern.pattern) if isinstance(pattern.pattern, RoutePattern) else _plain(pattern.pattern.regex.pattern))
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route


def _plain(regex: str) -> str:
    return re.sub(r"\(\?P<(\w+)>[^)]*\)", r"<\1>", regex.removeprefix("^").removesuffix("$").removesuffix(r"\Z")).replace("\\", "")


def path_of(route: str, arguments: Callable[[str, str], Any]) -> str:
    """A path that the route matches, with ``arguments(route, name)`` in place of its parameters."""
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(arguments(route, found.group(1))), route)


def status_of(client: Client, method: str, path: str) -> int:
    """What the portal answers; whatever the call changed is rolled back."""
    cache.clear()
    cookies = copy.copy(client.cookies)
    with transaction.atomic():
        status = int(client.generic(method, path, secure=False).status_code)
        transaction.set_rollback(True)
    client.cookies = cookies  # signing out is rolled back as well
    return status


def expected(file: Path = MATRIX) -> dict[tuple[str, str], tuple[int, ...]]:
    """The file's rows: (route, method) to the statuses in the order of PEOPLE."""
    rows = {}
    for line in file.read_text().splitlines():
        words = line.split()
        if words and not line.startswith("#"):
            rows[(words[0].removeprefix("/"), words[1])] = tuple(int(word) for word in words[2:])
    return rows


def line_of(route: str, method: str, statuses: tuple[int, ...]) -> str:
    return f"/{route:<75} {method:<7}" + "".join(f"{status:<10}" for status in statuses).rstrip()
