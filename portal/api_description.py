"""The OpenAPI description of the REST API as a whole: drf-spectacular's settings, and an example of each field.

``make openapi`` writes docs/openapi.yaml. It imports nothing of Django's, since the settings import it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

TITLE = "Tollgate"
DESCRIPTION = """\
Whatever the pages of the portal do, over HTTP: API keys, their usage, tokens, the organisation; and for those who run the portal, all
that lies behind.

- **Authentication**: `Authorization: Bearer tgp...`, with a token that has the scope that an operation names.
- **Errors** are [problem documents](https://www.rfc-editor.org/rfc/rfc9457) of the type `application/problem+json`; their `type` is a page
  that says what to do. What belongs to others is answered as what does not exist: 404.
- **Idempotency**: send an `Idempotency-Key` with each POST, and repeat the request as often as you like within 72 hours: it is carried
  out once, and answered alike.
- **Lists** come page by page, newest first. Follow `next` until it is null.
- **Versions**: `ETag` of an answer goes into `If-Match` (change it only if it is still so) and `If-None-Match` (304 if it is still so).
- **Limits**: `RateLimit-Policy` and `RateLimit` say what is allowed and what is left; 429 comes with `Retry-After`.
- Unknown fields and parameters are refused by name. Times are RFC 3339 in UTC; money is in minor units (cents) with its currency.
"""

TAGS = [
    {"name": "Tiers", "description": "What can be bought: limits and prices."},
    {"name": "Keys", "description": "API keys: from buying to revoking."},
    {"name": "Usage", "description": "Calls that were made, by time and by key."},
    {"name": "Webhooks", "description": "Being told of what happens to keys."},
    {"name": "Tokens", "description": "Secrets for this API itself."},
    {"name": "Organisation", "description": "The organisation, its people, and what was done."},
    {"name": "Staff: tiers", "description": "What is sold, and whether API Gateway enforces it so."},
    {"name": "Staff: gateways", "description": "AWS accounts and Regions: how they do, and where tenants call."},
    {"name": "Staff: adoptions", "description": "Taking over usage plans and keys that an account has already."},
    {"name": "Staff: pools", "description": "Shared gateway keys of pooled tiers, and how they are loaded."},
    {"name": "Staff: gateway keys", "description": "What exists, or shall exist, in API Gateway."},
    {"name": "Staff: tenants", "description": "The organisations that buy."},
    {"name": "Staff: keys", "description": "API keys of all tenants."},
    {"name": "Staff: drift", "description": "What comparing gateways with the database found."},
    {"name": "Staff: usage", "description": "Calls by tier and by tenant."},
    {"name": "Staff: audit trail", "description": "Who did what."},
    {"name": "Staff: tokens", "description": "Your own secrets for these endpoints."},
]

SETTINGS: dict[str, Any] = {
    "OAS_VERSION": "3.1.0",
    "TITLE": TITLE,
    "DESCRIPTION": DESCRIPTION,
    "VERSION": "1",
    "SERVERS": [{"url": "/api/v1", "description": "The portal that serves this description."}],
    "TAGS": TAGS,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SCHEMA_PATH_PREFIX_TRIM": True,
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_PATCH": False,  # inputs say themselves what may be left out
    "ENABLE_DJANGO_DEPLOY_CHECK": False,  # `make check` compares the whole description
    "GENERIC_ADDITIONAL_PROPERTIES": None,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enum_id_removal",
        "tenants.api.schema.add_shared_parts",
        "portal.api_description.name_enums",
    ],
}

# Sets of choices that get a name of their own, so that clients get one class for each; others stay where they are used.
ENUMS = {
    "Scope": "tenants.models.Scope",
    "Role": "tenants.models.Role",
    "EventType": "tenants.models.EventType",
    "Isolation": "keys.models.Isolation",
    "QuotaPeriod": "keys.models.QuotaPeriod",
    "KeyStatus": "keys.models.Status",
}


def name_enums(result: dict[str, Any], **_kwargs: Any) -> dict[str, Any]:
    """POSTPROCESSING_HOOKS of drf-spectacular."""
    from django.utils.module_loading import import_string  # the settings import this module

    names = {tuple(sorted(import_string(path).values)): name for name, path in ENUMS.items()}
    used: dict[str, list[str]] = {}

    def named(node: Any) -> Any:
        if isinstance(node, list):
            return [named(each) for each in node]
        if not isinstance(node, dict):
            return node
        values = node.get("enum")
        words = [each for each in values if isinstance(each, str)] if isinstance(values, list) else []
        name = names.get(tuple(sorted(words)))
        if name is None:
            return {key: named(inner) for key, inner in node.items()}
        used[name] = words
        rest = {key: inner for key, inner in node.items() if key not in {"enum", "type"}}
        reference = {"$ref": f"#/components/schemas/{name}"}
        return {"oneOf": [reference, {"type": "null"}], **rest} if None in (values or []) else {**reference, **rest}

    result["paths"], schemas = named(result["paths"]), named(result["components"]["schemas"])
    schemas.update({name: {"type": "string", "enum": values} for name, values in used.items()})
    result["components"]["schemas"] = dict(sorted(schemas.items()))
    return result


def for_tenants(description: Mapping[str, Any]) -> dict[str, Any]:
    """The description without what is for staff: their operations, and the components and tags that nothing else needs.

    Tenants are never told how their tier keeps them apart, and the staff's operations tell what is refused where, and why.
    """
    paths = {path: item for path, item in description["paths"].items() if not path.startswith("/staff/")}
    tags = [tag for tag in description["tags"] if not tag["name"].startswith("Staff: ")]
    components: Mapping[str, Mapping[str, Any]] = description["components"]
    kept = {("securitySchemes", name) for name in components.get("securitySchemes", {})}
    waiting = set(_references(paths))
    while waiting:
        kind, name = waiting.pop()
        kept.add((kind, name))
        waiting |= set(_references(components[kind][name])) - kept
    needed = {kind: {name: each for name, each in named.items() if (kind, name) in kept} for kind, named in components.items()}
    return {**description, "paths": paths, "tags": tags, "components": needed}


def _references(node: Any) -> Iterator[tuple[str, str]]:
    """Kind and name of each component that something refers to."""
    if isinstance(node, Mapping):
        if isinstance(node.get("$ref"), str):
            _hash, _components, kind, name = node["$ref"].split("/")
            yield kind, name
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _references(each)
