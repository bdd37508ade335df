"""How many requests a caller may send, told in ``RateLimit`` and ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers-10)."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from django_ratelimit.core import get_usage
from rest_framework.request import Request

from tenants.api.caller import Caller
from tenants.api.problems import Problem

WINDOW_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Policy:
    """So many requests a minute; ``name`` tells policies apart."""

    name: str
    per_minute: int

    @property
    def header(self) -> str:
        return f'"{self.name}";q={self.per_minute};w={WINDOW_SECONDS}'


# For all requests of one token or person; and beside that one: for what hands out credentials, for what makes API Gateway do something
# at once, and for what makes us call somebody else's server.
SETTINGS = {
    "default": "API_REQUESTS_PER_MINUTE",
    "secrets": "API_SECRETS_PER_MINUTE",
    "switches": "API_SWITCHES_PER_MINUTE",
    "sends": "API_SENDS_PER_MINUTE",
}


def policy_named(name: str) -> Policy:
    """The policy as the settings say."""
    return Policy(name=name, per_minute=getattr(settings, SETTINGS[name]))


def count(request: Request, policy: Policy) -> dict[str, str]:
    """Count one request of the caller; the headers that tell what is left. Raises Problem (429)."""
    caller = request.auth
    key = caller.id if isinstance(caller, Caller) else ""
    usage: dict[str, Any] | None = get_usage(
        request._request,
        group=f"api:{policy.name}",
        key=(lambda _group, _request: key) if key else "ip",
        rate=f"{policy.per_minute}/m",
        increment=True,
    )
    if usage is None:  # limits are off: RATELIMIT_ENABLE
        return {}
    left, seconds = max(0, usage["limit"] - usage["count"]), max(1, usage["time_left"])
    headers = {"RateLimit-Policy": policy.header, "RateLimit": f'"{policy.name}";r={left};t={seconds}'}
    if usage["should_limit"]:
        detail = _("At most %(count)d requests a minute. The window ends in %(seconds)d s.")
        values = {"count": policy.per_minute, "seconds": seconds}
        raise Problem("rate-limited", detail % values, headers={**headers, "Retry-After": str(seconds)})
    return headers
