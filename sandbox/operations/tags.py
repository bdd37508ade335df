"""Operations on tags."""

from __future__ import annotations

import re

from sandbox import errors, wire
from sandbox.store import Store
from sandbox.wire import Call, Json

TAGS_MAX, TAG_KEY_MAX, TAG_VALUE_MAX = 50, 128, 256
_ARN = re.compile(r"arn:aws[a-z-]*:apigateway:[a-z0-9-]+::(/[A-Za-z0-9/_.-]+)")


def check_tags(tags: Json) -> dict[str, str]:
    """Return the tags, or raise 400 for what AWS does not store."""
    for key, value in tags.items():
        if not isinstance(value, str):
            raise errors.not_serializable("'tags' cannot be converted to Map of String to String")
        if not 0 < len(key) <= TAG_KEY_MAX or len(value) > TAG_VALUE_MAX:
            raise errors.bad_request("Invalid tag specified: keys have 1 to 128 characters, values at most 256")
        if key.lower().startswith("aws:"):
            raise errors.bad_request("Invalid tag specified: keys may not start with aws:")
    if len(tags) > TAGS_MAX:
        raise errors.bad_request(f"Too many tags: a resource has at most {TAGS_MAX}")
    return dict(tags)


def _tags_of(store: Store, arn: str) -> dict[str, str]:
    """Return the tags, to be changed in place, of what an ARN names."""
    match = _ARN.fullmatch(arn)
    if match is None:
        raise errors.bad_request("Invalid ARN specified in the request")
    kind, *rest = match[1].strip("/").split("/")
    if kind == "apikeys" and len(rest) == 1:
        return store.key(rest[0]).tags
    if kind == "usageplans" and len(rest) == 1:
        return store.plan(rest[0]).tags
    api = store.apis.get(rest[0]) if kind == "restapis" and rest else None
    if api is not None and len(rest) == 1:
        return api.tags
    if api is not None and len(rest) == 3 and rest[1] == "stages" and rest[2] in api.stages:
        return api.stages[rest[2]].tags
    raise errors.not_found("Invalid resource specified in the ARN")


def tag(store: Store, call: Call) -> None:
    """TagResource: add tags or change their values."""
    tags = _tags_of(store, call.params[0])
    tags |= check_tags(tags | (wire.mapping(call.json(), "tags") or {}))


def untag(store: Store, call: Call) -> None:
    """UntagResource: take tags away; those that are not there do not matter."""
    tags = _tags_of(store, call.params[0])
    for key in call.query.get("tagKeys", []):
        tags.pop(key, None)


def get(store: Store, call: Call) -> Json:
    """GetTags."""
    return {"tags": _tags_of(store, call.params[0])}
