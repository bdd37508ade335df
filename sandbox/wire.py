"""A control-plane call as the operations see it: path parameters, query and body, with strict readers.

Reading is strict because boto3 is: what it would not send is refused here, so that hand-made requests get the
errors that AWS would give and never a half-read value.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sandbox import errors

Json = dict[str, Any]
Item = TypeVar("Item")

DEFAULT_PAGE = 25
LARGEST_PAGE = 500


@dataclass(slots=True)
class Call:
    """One call. ``page_cap`` is a fault: pages get no longer than that, whatever ``limit`` says."""

    params: tuple[str, ...] = ()
    query: Mapping[str, list[str]] = field(default_factory=dict)
    body: bytes = b""
    page_cap: int | None = None

    def json(self) -> Json:
        """Return the body as a JSON object (empty body: no members), or raise 400."""
        if not self.body:
            return {}
        try:
            data = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise errors.not_serializable("Unable to parse the request body as JSON") from error
        if not isinstance(data, dict):
            raise errors.not_serializable("The request body is not a JSON object")
        return data

    def parameter(self, name: str) -> str | None:
        """Return the first value of a query parameter (its name in any case), or None."""
        for key, values in self.query.items():
            if key.lower() == name.lower():
                return values[0]
        return None

    def flag(self, name: str) -> bool:
        """Return a Boolean query parameter; absent is False."""
        return (self.parameter(name) or "").lower() == "true"

    def limit(self) -> int:
        """Return the page size asked for: 25 by default, 500 at most; a bad one is ignored, as AWS does with -1."""
        text = self.parameter("limit") or ""
        limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        limit = min(limit, LARGEST_PAGE) or DEFAULT_PAGE
        return limit if self.page_cap is None else min(limit, self.page_cap)


def _read(body: Json, name: str, kinds: tuple[type, ...], label: str) -> Any:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise errors.not_serializable(f"'{name}' cannot be converted to {label}")
    return value


def text(body: Json, name: str) -> str:
    """Return a string member; absent is empty."""
    return _read(body, name, (str,), "String") or ""


def boolean(body: Json, name: str) -> bool:
    """Return a Boolean member; absent is False."""
    return bool(_read(body, name, (bool,), "Boolean"))


def integer(body: Json, name: str) -> int | None:
    """Return an integer member or None."""
    value: int | None = _read(body, name, (int,), "Integer")
    return value


def number(body: Json, name: str) -> float | None:
    """Return a number member as a float, or None."""
    value = _read(body, name, (int, float), "Double")
    try:
        return None if value is None else float(value)
    except OverflowError:
        raise errors.not_serializable(f"'{name}' cannot be converted to Double") from None


def mapping(body: Json, name: str) -> Json | None:
    """Return an object member or None."""
    value: Json | None = _read(body, name, (dict,), "Structure")
    return value


def items(body: Json, name: str) -> list[Json]:
    """Return a list of objects; absent is empty."""
    value = _read(body, name, (list,), "List") or []
    if not all(isinstance(each, dict) for each in value):
        raise errors.not_serializable(f"'{name}' cannot be converted to List of Structure")
    return list(value)


@dataclass(frozen=True, slots=True)
class Patch:
    """One patch operation."""

    op: str
    path: str
    value: str | None

    @property
    def text(self) -> str:
        """The value; absent is empty."""
        return self.value or ""


def patches(call: Call) -> list[Patch]:
    """Return the patch operations of an Update call, or raise 400."""
    result = []
    for entry in items(call.json(), "patchOperations"):
        op, path, value = text(entry, "op"), text(entry, "path"), _read(entry, "value", (str,), "String")
        if op not in {"add", "remove", "replace", "move", "copy", "test"}:
            raise errors.bad_request(f"Invalid patch operation '{op}' specified")
        result.append(Patch(op, path, value))
    return result


def invalid_path(patch: Patch, allowed: Iterable[str] = ()) -> errors.ApiError:
    """Return the error for a patch that the resource does not take, in AWS's words (two blanks included)."""
    listed = ", ".join(allowed)
    hint = f"Must be one of: [{listed}]" if listed else "Please choose supported operations"
    return errors.bad_request(f"Invalid patch path  '{patch.path}' specified for op '{patch.op}'. {hint}")


def page(call: Call, newest_first: Iterable[Item], sequence: Callable[[Item], int], render: Callable[[Item], Any]) -> Json:
    """Return one page as ``{"item": [...], "position": ...}``.

    The position names the last item given, by its sequence number: pages neither skip nor repeat items when others are
    deleted or made between two calls.
    """
    before = _sequence_of(call.parameter("position"))
    limit = call.limit()
    chosen: list[Item] = []
    for each in newest_first:
        if before is not None and sequence(each) >= before:
            continue
        if len(chosen) == limit:
            return {"item": [render(item) for item in chosen], "position": _position_of(sequence(chosen[-1]))}
        chosen.append(each)
    return {"item": [render(item) for item in chosen]}


def _position_of(sequence: int) -> str:
    return base64.urlsafe_b64encode(f"after:{sequence}".encode()).decode().rstrip("=")


def _sequence_of(position: str | None) -> int | None:
    if not position:
        return None
    try:
        word, _, number_text = base64.b64decode(position + "=" * (-len(position) % 4), b"-_").decode().partition(":")
        if word == "after":
            return int(number_text)
    except (ValueError, binascii.Error):
        pass
    raise errors.bad_request("Invalid position specified")
