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
    "role_arn": "arn:aws:iam::123456789012:role/tollgate",
    "external_id": "tollgate-7f3a",
}
_GATEWAY_SHOWN = {
    "id": _GATEWAY["id"],
    **_GATEWAY_INPUT,
    "accepts_keys": True,
    "uses_imports": True,
    "created_at": _SINCE,
    "keys_held": 1240,
    "foreign_keys": 0,
    "headroom": 8760,
    "draining_since": None,
    "permissions": {
        "requested_at": _LATELY,
        "checked_at": _LATELY,
        "missing": [
            {
                "operation": "DeleteApiKey",
                "words": "apigateway:DELETE on /apikeys/*: Revoked keys are disabled but not deleted: they take room.",
            }
        ],
    },
    "usage_plans_pending": 0,
    "gateway_keys_pending": 2,
    "backlog": {"gateway_keys": 2, "usage_plans": 0, "calls": 3, "seconds": 1.3},
    "pace": 1.0,
    "lease": {"owner": "worker-1", "expires_at": "2026-11-21T08:01:00Z"},
    "breaker": {"open": False, "failures": 0, "resume_at": None},
    "last_seen_at": _LATELY,
    "last_error": "",
    "last_error_at": None,
    "reconcile_requested_at": None,
    "dry_run_requested_at": None,
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

_ADOPTION = {
    "id": 12,
    "gateway": _GATEWAY,
    "state": "proposed",
    "asked_by": "sam@example.com",
    "asked_at": _LATELY,
    "proposed_at": "2026-11-21T08:00:04Z",
    "confirmed_at": None,
    "withdrawn_at": None,
    "applied_at": None,
    "error": "",
}
_PROPOSED_PLAN = {
    "plan": "p4q3r2",
    "name": "Basic",
    "throttle_rate": 5,
    "throttle_burst": 10,
    "quota_limit": 10_000,
    "quota_period": "MONTH",
    "stages": ["a1b2c3d4e5:v1"],
    "obstacles": [],
    "suggested_tier": "basic",
    "new_tenants": 1,
    "keys": [{"id": "k9x8y7z6w5", "name": "acme-production", "enabled": True, "left_alone": ""}],
}

_SHOWN: dict[str, dict[str, Any]] = {
    "DrainShape": {
        "draining_since": _SINCE,
        "keys_held": 312,
        "pool_keys": 12,
        "stuck": 0,
        "siloed": 260,
        "siloed_stuck": 12,
        "spares": 0,
        "canaries": 4,
        "leaving": 36,
        "leaves_by": _LATELY,
        "moves_siloed_since": None,
    },
    "AdoptionShape": _ADOPTION,
    "AdoptionDetailShape": {**_ADOPTION, "plans": [_PROPOSED_PLAN], "loose_keys": 2, "taken": [], "left": [], "tenants_made": 0},
    "AdoptionPreviewShape": {"keys": 1, "left": 0, "new_tiers": 1, "new_tenants": 0, "nameless": 0, "named_after_keys": 0, "tenants": 1},
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
        "canary": {"checked_at": _LATELY, "status": 200, "failures": 0, "error": ""},
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
    "PoolDetailShape": {
        **_POOL,
        "free_slots": 1,
        "loads": [{"load": 120, "gateway_keys": 1}, {"load": 121, "gateway_keys": 1}],
        "keys": [_POOL_KEY, _OTHER_POOL_KEY],
    },
    "MovePreviewShape": {
        "size": 1,
        "moved": 120,
        "new_url": 0,
        "load_min": 241,
        "load_max": 241,
        "blast_radius_before": 0.5021,
        "blast_radius": 1.0,
        "grace_seconds": 604_800,
    },
    "TierPlanShape": {
        "tiers": [
            {
                "slug": "free",
                "isolation": "pooled",
                "share": 10,
                "keys": 2,
                "throttle_rate": 50,
                "throttle_burst": 25,
                "quota_limit": 2000,
                "quota_period": "DAY",
                "spare_target": 0,
                "requests_a_second": 100,
                "tenants_a_key": 121,
                "blast_radius": 0.5021,
                "keys_for_blast_radius": 241,
            }
        ],
        "requests_a_second": 100,
        "burst": 50,
        "gateway_keys": 3,
        "gateways_needed": 1,
        "warnings": [
            {"concern": "blast_radius", "tier": "free", "detail": "A blast radius of 0.5 % needs 241 keys; 2 make 50.208 %."},
        ],
        "steps": [
            {
                "slug": "free",
                "tier": {**_TIER, "slug": "free"},
                "changes": [{"field": "rate", "before": "10 requests a second", "after": "50 requests a second"}],
                "moved": 0,
            }
        ],
    },
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
        "dry_run": False,
        "plans_listed": 4,
        "keys_listed": 1240,
        "findings": 1,
        "calls": 8,
        "stopped": "",
        "error": "",
    },
    "FindingShape": {
        "id": 815,
        "run": 4711,
        "gateway": _GATEWAY,
        "kind": "missing",
        "subject": "gateway key",
        "remote_id": "",
        "name": "tollgate-0c9f7a52-e3b0c442",
        "before": "not there",
        "after": "enabled",
        "detail": "It was not there; it shall be enabled.",
        "action": "Is made anew with the same credential.",
        "state": "resolved",
        "trouble": "",
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
_DECISIONS = {
    "plans": [
        {
            "plan": "p4q3r2",
            "take": "siloed",
            "tier": "basic",
            "name": "Basic",
            "holders": [{"key": "k9x8y7z6w5", "tenants": [_TENANT["id"]]}],
        }
    ]
}

_TAKEN: dict[str, dict[str, Any]] = {
    "AdoptionInput": {"gateway": _GATEWAY["id"]},
    "AdoptionDecisions": _DECISIONS,
    "AdoptionConfirmation": {**_DECISIONS, "new_tenants": 0},
    "StaffTierInput": _TIER_INPUT,
    "StaffTierChange": {"throttle_burst": 50, "price_minor": 2499},
    "StaffGatewayInput": _GATEWAY_INPUT,
    "StaffGatewayChange": {"accepts_keys": False},
    "DrainInput": {"move_siloed": True},
    "StageInput": _STAGE_INPUT,
    "StageChange": {"test_path": "/health"},
    "PoolSize": {"size": 8},
    "Rebalance": {"most": 1000},
    "TierPlanInput": {
        "rate": 1000,
        "tiers": [
            {"slug": "free", "share": 10, "keys": 2, "tenants": 241, "blast_radius": 0.005},
            {"slug": "premium", "share": 40, "isolation": "siloed", "tenants": 240, "price_minor": 1999},
        ],
    },
    "ReconcileInput": {"dry_run": True},
    "Replacement": {"grace_seconds": 86_400},
    "StaffTenantChange": {"name": "Acme Ltd"},
    "SuspensionInput": {"reason": "Unpaid since August"},
    "CredentialInput": {"credential": "tgk0EXAMPLEexampleEXAMPLEexampleEXAMPLEexampleEXAx7Qp"},
    "StaffTokenInput": {"name": "Night job", "scopes": ["staff:read"], "expires_at": "2027-11-21T00:00:00Z"},
}


_SHOWN["RebalancedShape"] = {**_SHOWN["PoolDetailShape"], "moved": 12}


def with_example(shape: Any) -> Any:
    """For serializers: the example that stands above under their name."""
    shown = shape.__name__ in _SHOWN
    value = (_SHOWN if shown else _TAKEN)[shape.__name__]
    return extend_schema_serializer(examples=[OpenApiExample("Example", value=value, response_only=shown, request_only=not shown)])(shape)
