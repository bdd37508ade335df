"""Operations on API keys."""

from __future__ import annotations

from sandbox import errors, wire
from sandbox.model import ApiKey
from sandbox.operations.tags import check_tags
from sandbox.store import Store
from sandbox.wire import Call, Json, Patch

NAME_MAX = 1_024
DESCRIPTION_MAX = 125_000
VALUE_MIN, VALUE_MAX = 20, 128
PATCHABLE = ("/description", "/enabled", "/name", "/customerId")


def key_json(key: ApiKey, *, value: bool = False, tags: bool = False) -> Json:
    """Return a key as the protocol writes it. ``tags``: also when there are none."""
    body: Json = {
        "id": key.id,
        "enabled": key.enabled,
        "createdDate": key.created,
        "lastUpdatedDate": key.updated,
        "stageKeys": key.stage_keys,
    }
    optional = {"name": key.name, "description": key.description, "customerId": key.customer_id}
    body |= {name: content for name, content in optional.items() if content}
    if value:
        body["value"] = key.value
    if tags or key.tags:
        body["tags"] = key.tags
    return body


def check_name(name: str) -> str:
    """Return the name, or raise 400 when it is too long."""
    if len(name) > NAME_MAX:
        raise errors.bad_request("Invalid API Key name, can be at most 1024 characters.")
    return name


def check_description(description: str) -> str:
    """Return the description, or raise 400 when it is too long."""
    if len(description) > DESCRIPTION_MAX:
        raise errors.bad_request("Invalid API Key description specified.")
    return description


def check_value(value: str) -> str:
    """Return the value (empty: to be generated), or raise 400.

    Characters: letters, digits and what AWS's own samples use besides. AWS documents "alphanumeric" and takes hyphens;
    what else it takes is not known, so other printable ASCII is let through and the rest refused (choice).
    """
    if value and len(value) < VALUE_MIN:
        raise errors.bad_request("API Key value should be at least 20 characters")
    if len(value) > VALUE_MAX:
        raise errors.bad_request("API Key value exceeds maximum size of 128 characters")
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise errors.bad_request("API Key value contains invalid characters")
    return value


def create(store: Store, call: Call) -> Json:
    """CreateApiKey: disabled unless ``enabled`` is true, and without effect until it is in a usage plan."""
    body = call.json()
    stage_keys = [f"{wire.text(each, 'restApiId')}/{wire.text(each, 'stageName')}" for each in wire.items(body, "stageKeys")]
    name, description = check_name(wire.text(body, "name")), check_description(wire.text(body, "description"))
    value, enabled = check_value(wire.text(body, "value")), wire.boolean(body, "enabled")
    customer_id, tags = wire.text(body, "customerId"), check_tags(wire.mapping(body, "tags") or {})
    key = store.add_key(value, name=name, description=description, enabled=enabled)
    key.customer_id, key.tags, key.stage_keys = customer_id, tags, stage_keys
    return key_json(key, value=True)


def get(store: Store, call: Call) -> Json:
    """GetApiKey."""
    return key_json(store.key(call.params[0]), value=call.flag("includeValue"), tags=True)


def get_many(store: Store, call: Call) -> Json:
    """GetApiKeys: ``name`` is a case-sensitive prefix; there is no way to look up a value."""
    prefix, customer_id = call.parameter("name"), call.parameter("customerId")
    keys = store.newest_keys()
    if prefix:
        keys = (key for key in keys if key.name.startswith(prefix))
    if customer_id:
        keys = (key for key in keys if key.customer_id == customer_id)
    values = call.flag("includeValues")
    return wire.page(call, keys, lambda key: key.sequence, lambda key: key_json(key, value=values))


def update(store: Store, call: Call) -> Json:
    """UpdateApiKey: all patches or none. The answer has no value."""
    key = store.key(call.params[0])
    changes = [_change(patch) for patch in wire.patches(call)]
    for attribute, content in changes:
        setattr(key, attribute, content)
    store.touch_key(key)
    return key_json(key, tags=True)


def _change(patch: Patch) -> tuple[str, str | bool]:
    if patch.op != "replace" or patch.path not in PATCHABLE:
        raise wire.invalid_path(patch, PATCHABLE)
    if patch.path == "/name":
        return "name", check_name(patch.text)
    if patch.path == "/description":
        return "description", check_description(patch.text)
    if patch.path == "/enabled":
        # Whatever is not "true" switches the key off; AWS does not complain.
        return "enabled", patch.text.lower() == "true"
    return "customer_id", patch.text


def delete(store: Store, call: Call) -> None:
    """DeleteApiKey: the key leaves its usage plans."""
    store.remove_key(store.key(call.params[0]))
