from keys.models.adoption import Adoption, AdoptionState
from keys.models.api_key import ApiKey, ApiKeyQuerySet, Status
from keys.models.call_count import CallCount
from keys.models.credential import Credential
from keys.models.gateway import Gateway
from keys.models.gateway_key import GatewayKey, GatewayKeyQuerySet, KeyRole, Priority
from keys.models.pool import FreeSlot, Pool
from keys.models.reconcile import Finding, FindingKind, FindingState, ReconcileRun
from keys.models.room import Room
from keys.models.stage import Stage
from keys.models.tier import Isolation, QuotaPeriod, Tier
from keys.models.usage import UsageDay
from keys.models.usage_plan import UsagePlan

__all__ = [
    "Adoption",
    "AdoptionState",
    "ApiKey",
    "ApiKeyQuerySet",
    "CallCount",
    "Credential",
    "Finding",
    "FindingKind",
    "FindingState",
    "FreeSlot",
    "Gateway",
    "GatewayKey",
    "GatewayKeyQuerySet",
    "Isolation",
    "KeyRole",
    "Pool",
    "Priority",
    "QuotaPeriod",
    "ReconcileRun",
    "Room",
    "Stage",
    "Status",
    "Tier",
    "UsageDay",
    "UsagePlan",
]
