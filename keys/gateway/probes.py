"""Finding out what credentials may do, without changing anything.

Reads are tried. Writes name things that cannot exist, or carry a body that API Gateway refuses: IAM answers before it looks at either, so
403 means that the right is missing, and any other refusal that it is there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient

# Ids of API Gateway have ten characters at most; no key, usage plan or API can be called this.
ABSENT = "tollgateabsent"
_DAY = "2020-01-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One right. ``method`` and ``path`` are how IAM names it; ``lost`` says what does not work without it."""

    operation: str
    method: str
    path: str
    lost: str | Promise
    call: "Callable[[APIGatewayClient], Any]"

    @property
    def action(self) -> str:
        """What to add to a policy."""
        return f"apigateway:{self.method} on {self.path}"


_LISTS = _("Nothing can be compared or repaired.")
_KEYS = _("No key can be made, so siloed tiers cannot be sold.")
_PLANS = _("No usage plan can be made, so no tier can be sold here.")
_SWITCH = _("Keys cannot be disabled and enabled; a revoked key goes on working until it is deleted.")
_LIMITS = _("New limits of a tier do not reach API Gateway.")
_DELETE = _("Revoked keys are disabled but not deleted: they take room.")
_DETACH = _("Keys that are in a wrong usage plan stay there.")

PROBES: tuple[Probe, ...] = (
    Probe(operation="GetApiKeys", method="GET", path="/apikeys", lost=_LISTS, call=lambda api: api.get_api_keys(limit=1)),
    Probe(operation="GetApiKey", method="GET", path="/apikeys/*", lost=_LISTS, call=lambda api: api.get_api_key(apiKey=ABSENT)),
    Probe(operation="GetUsagePlans", method="GET", path="/usageplans", lost=_LISTS, call=lambda api: api.get_usage_plans(limit=1)),
    Probe(
        operation="GetUsagePlan", method="GET", path="/usageplans/*", lost=_LISTS, call=lambda api: api.get_usage_plan(usagePlanId=ABSENT)
    ),
    Probe(
        operation="GetUsagePlanKeys",
        method="GET",
        path="/usageplans/*/keys",
        lost=_LISTS,
        call=lambda api: api.get_usage_plan_keys(usagePlanId=ABSENT, limit=1),
    ),
    Probe(
        operation="GetUsage",
        method="GET",
        path="/usageplans/*/usage",
        lost=_("Usage is not shown."),
        call=lambda api: api.get_usage(usagePlanId=ABSENT, startDate=_DAY, endDate=_DAY),
    ),
    # A value that is too short; ImportApiKeys needs the same right.
    Probe(operation="CreateApiKey", method="POST", path="/apikeys", lost=_KEYS, call=lambda api: api.create_api_key(value="short")),
    Probe(
        operation="CreateUsagePlan",
        method="POST",
        path="/usageplans",
        lost=_PLANS,
        call=lambda api: api.create_usage_plan(name=ABSENT, apiStages=[{"apiId": ABSENT, "stage": ABSENT}]),
    ),
    Probe(
        operation="CreateUsagePlanKey",
        method="POST",
        path="/usageplans/*/keys",
        lost=_KEYS,
        call=lambda api: api.create_usage_plan_key(usagePlanId=ABSENT, keyId=ABSENT, keyType="API_KEY"),
    ),
    Probe(
        operation="UpdateApiKey",
        method="PATCH",
        path="/apikeys/*",
        lost=_SWITCH,
        call=lambda api: api.update_api_key(apiKey=ABSENT, patchOperations=[{"op": "replace", "path": "/enabled", "value": "false"}]),
    ),
    Probe(
        operation="UpdateUsagePlan",
        method="PATCH",
        path="/usageplans/*",
        lost=_LIMITS,
        call=lambda api: api.update_usage_plan(usagePlanId=ABSENT, patchOperations=[{"op": "replace", "path": "/name", "value": ABSENT}]),
    ),
    Probe(operation="DeleteApiKey", method="DELETE", path="/apikeys/*", lost=_DELETE, call=lambda api: api.delete_api_key(apiKey=ABSENT)),
    Probe(
        operation="DeleteUsagePlanKey",
        method="DELETE",
        path="/usageplans/*/keys/*",
        lost=_DETACH,
        call=lambda api: api.delete_usage_plan_key(usagePlanId=ABSENT, keyId=ABSENT),
    ),
)
