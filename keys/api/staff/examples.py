"""Examples of what the staff's endpoints take and show, for the description of the API."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer

_GATEWAY = {"id": "0c9f7a52-6a1e-4c55-8f0d-1f6b1f3b7a10", "name": "Frankfurt"}
_TIER = {"id": "7b1f4c8e-52d3-4f0a-9c41-3e8a6d2b5f20", "slug": "premium"}
_TENANT = {"id": "a4d8e2f6-1b3c-4d5e-8f70-9a1b2c3d4e30", "name": "Acme"}
_KEY_ID = "5d0f6a3e-3c0a-4a7e-9c55-0a2f3f1f7f10"
_GATEWAY_KEY_ID = "e3b0c442-98fc-4c14-9afb-f4c8996fb940"
_STAGE_ID = "2f5d8b1a-7e4c-4a96-b3d2-6c0e9f8a7b50"
_SINCE, _LATELY = "2026-01-15T09:30:00Z", "2026-11-21T08:00:00Z"

_TIER_INPUT = {
    "slug": "premium",
    "name": "Premium",
    "description": "For programs in production.",
    "position": 2,
    "price_minor": 1999,
    "currency": "USD",
    "isolation": "siloed",
    "throttle_rate": 10,
    "throttle_burst": 20,
    "quota_limit": 100_000,
    "quota_period": "MONTH",
    "max_api_keys": 10,
    "spare_target": 5,
    "stages": [_STAGE_ID],
}
_TIER_SHOWN = {
    "id": _TIER["id"],
    **_TIER_INPUT,
    "created_at": _SINCE,
    "retired_at": None,
    "pool_size": None,
    "api_keys": 240,
    "load_min": None,
    "load_max": None,
    "blast_radius": 0.0042,
    "usage_plans_pending": 0,
}
_GATEWAY_INPUT = {
    "name": "Frankfurt",
    "account_id": "123456789012",
    "region": "eu-central-1",
    "capacity": 10_000,
    "propagation_seconds": 60,
}
_GATEWAY_SHOWN = {
    "id": _GATEWAY["id"],
    **_GATEWAY_INPUT,
    "accepts_keys": True,
    "created_at": _SINCE,
    "keys_held": 1240,
    "headroom": 8760,
    "usage_plans_pending": 0,
    "gateway_keys_pending": 2,
    "lease": {"owner": "worker-1", "expires_at": "2026-11-21T08:01:00Z"},
    "breaker": {"open": False, "failures": 0, "resume_at": None},
    "last_seen_at": _LATELY,
    "last_error": "",
    "last_error_at": None,
    "reconcile_requested_at": None,
    "last_reconciled_at": "2026-11-21T07:30:00Z",
    "usage_read_at": "2026-11-21T07:45:00Z",
}
_STAGE_INPUT = {
    "rest_api_id": "a1b2c3d4e5",
    "name": "v1",
    "invoke_url": "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/v1",
    "test_path": "/api",
}
_GATEWAY_KEY = {
    "id": _GATEWAY_KEY_ID,
    "role": "silo",
    "last_four": "x7Qp",
    "tier": _TIER,
    "gateway": _GATEWAY,
    "position": None,
    "load": 1,
    "former_holders": 0,
    "created_at": _SINCE,
    "enabled": True,
    "ends_at": None,
    "changed_at": _SINCE,
    "pending": False,
    "needs_person": False,
    "in_service_at": "2026-01-15T09:31:00Z",
    "removed_at": None,
    "synced_at": "2026-01-15T09:30:02Z",
    "name": "tollgate-0c9f7a52-e3b0c442",
    "remote_id": "k9x8y7z6w5",
    "attempts": 0,
    "next_try_at": None,
    "last_error": "",
}
_KEY = {
    "id": _KEY_ID,
    "name": "Shop",
    "description": "Checkout of the web shop",
    "tenant": _TENANT,
    "tier": _TIER,
    "isolation": "siloed",
    "status": "ready",
    "last_four": "x7Qp",
    "gateway": _GATEWAY,
    "gateway_key": _GATEWAY_KEY_ID,
    "slot": None,
    "bought_by": "alice@example.com",
    "created_at": _SINCE,
    "disabled_at": None,
    "revoked_at": None,
}
_POOL = {"tier": {**_TIER, "slug": "free"}, "size": 2, "api_keys": 241, "load_min": 120, "load_max": 121, "blast_radius": 0.5021}
_POOL_KEY = {
    "id": _GATEWAY_KEY_ID,
    "position": 0,
    "last_four": "x7Qp",
    "gateway": _GATEWAY["id"],
    "in_service_at": "2026-01-15T09:31:00Z",
    "load": 121,
}
_OTHER_POOL_KEY = {**_POOL_KEY, "id": "1c2d3e4f-5a6b-4c7d-8e9f-0a1b2c3d4e60", "position": 1, "last_four": "m2Lk", "load": 120}

_SHOWN: dict[str, dict[str, Any]] = {
    "StaffTierShape": _TIER_SHOWN,
    "TierPreviewsShape": {"gateways": [{"gateway": _GATEWAY, "gateway_keys": 240, "seconds": 20}]},
    "UsagePlanShape": {
        "id": "9e8d7c6b-5a49-4837-a625-1403f2e1d070",
        "tier": _TIER,
        "gateway": _GATEWAY,
        "remote_id": "p4q3r2",
        "pending": True,
        "needs_person": False,
        "differences": ["Burst: the tier says 20, API Gateway has 10."],
        "last_error": "",
        "attempts": 0,
        "next_try_at": None,
        "changed_at": _LATELY,
        "synced_at": _SINCE,
        "created_at": _SINCE,
    },
    "StaffGatewayShape": _GATEWAY_SHOWN,
    "StageShape": {"id": _STAGE_ID, "gateway": _GATEWAY, **_STAGE_INPUT},
    "PoolShape": _POOL,
    "PoolDetailShape": {**_POOL, "keys": [_POOL_KEY, _OTHER_POOL_KEY]},
    "ResizePreviewShape": {"size": 1, "moved": 120, "grace_seconds": 604_800},
    "GatewayKeyShape": _GATEWAY_KEY,
    "StaffTenantShape": {**_TENANT, "created_at": _SINCE, "suspended_at": None, "members": 3, "own_keys": 12, "shared_keys": 2},
    "StaffKeyShape": _KEY,
    "FoundShape": {"gateway_key": _GATEWAY_KEY, "keys": [_KEY], "has_more": False},
    "ReconcileRunShape": {
        "id": 4711,
        "gateway": _GATEWAY,
        "outcome": "drift",
        "started_at": "2026-11-21T07:30:00Z",
        "ended_at": "2026-11-21T07:30:04Z",
        "plans_listed": 4,
        "keys_listed": 1240,
        "findings": 1,
        "error": "",
    },
    "FindingShape": {
        "id": 815,
        "run": 4711,
        "gateway": _GATEWAY,
        "kind": "missing",
        "subject": "gateway key",
        "remote_id": "k9x8y7z6w5",
        "name": "tollgate-0c9f7a52-e3b0c442",
        "detail": "It is not at API Gateway.",
        "action": "Made again with the same value.",
        "state": "resolved",
        "found_at": "2026-11-21T07:30:03Z",
        "quarantined_at": None,
        "resolved_at": "2026-11-21T07:30:04Z",
    },
    "StaffUsageShape": {
        "from": "2026-11-01",
        "to": "2026-11-21",
        "used": 1_204_310,
        "tiers": [{"tier": _TIER, "isolation": "siloed", "used": 1_204_310, "read_at": "2026-11-21T07:45:00Z"}],
    },
    "TenantUsageShape": {
        "tenant": _TENANT,
        "used": 48_210,
        "tiers": [{"tier": "premium", "used": 48_210, "read_at": "2026-11-21T07:45:00Z"}],
    },
    "StaffAuditEventShape": {
        "id": "c5d6e7f8-9a0b-4c1d-8e2f-3a4b5c6d7e80",
        "created_at": _LATELY,
        "tenant": _TENANT,
        "actor": "sam@example.com (Night job)",
        "actor_id": "f1e2d3c4-b5a6-4978-8695-a4b3c2d1e090",
        "action": "tenant.suspended",
        "target_type": "tenant",
        "target_id": _TENANT["id"],
        "target_name": "Acme",
        "details": {"reason": "Unpaid since August", "cut_off": 12, "not_cut_off": 2},
        "request_id": "0b3d7c5e-6f1a-4f0e-9a55-0c6a3b7d1f42",
    },
}
_TAKEN: dict[str, dict[str, Any]] = {
    "StaffTierInput": _TIER_INPUT,
    "StaffTierChange": {"throttle_burst": 50, "price_minor": 2499},
    "StaffGatewayInput": _GATEWAY_INPUT,
    "StaffGatewayChange": {"accepts_keys": False},
    "StageInput": _STAGE_INPUT,
    "StageChange": {"test_path": "/health"},
    "PoolSize": {"size": 8},
    "Replacement": {"grace_seconds": 86_400},
    "StaffTenantChange": {"name": "Acme Ltd"},
    "SuspensionInput": {"reason": "Unpaid since August"},
    "CredentialInput": {"credential": "tgk0EXAMPLEexampleEXAMPLEexampleEXAMPLEexampleEXAx7Qp"},
    "StaffTokenInput": {"name": "Night job", "scopes": ["staff:read"], "expires_at": "2027-11-21T00:00:00Z"},
}


def with_example(shape: Any) -> Any:
    """For serializers: the example that stands above under their name."""
    shown = shape.__name__ in _SHOWN
    value = (_SHOWN if shown else _TAKEN)[shape.__name__]
    return extend_schema_serializer(examples=[OpenApiExample("Example", value=value, response_only=shown, request_only=not shown)])(shape)
