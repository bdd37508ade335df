"""What tests of these endpoints ask of answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.support.api import ApiClient


def refusal(answer: Any) -> tuple[int, str]:
    """Status and slug of a problem document, whose form is checked."""
    body = answer.json()
    assert answer["Content-Type"] == "application/problem+json"
    assert body["status"] == answer.status_code
    return answer.status_code, body["type"].rstrip("/").rpartition("/")[2]


def wrong_fields(answer: Any) -> set[str]:
    """The fields that a 400 names."""
    assert refusal(answer) == (400, "invalid-fields")
    return {error["field"] for error in answer.json()["errors"]}


def walk(api: ApiClient, path: str) -> Iterator[list[dict[str, Any]]]:
    """The pages of a list, from the first to the last."""
    following: str | None = path
    while following:
        answer = api.get(following)
        assert answer.status_code == 200, answer.content
        yield answer.json()["data"]
        following = answer.json()["next"]
