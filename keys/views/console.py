"""The console: calls from the browser straight to the gateway, as a client would make them."""

import uuid

from csp.constants import SELF
from csp.decorators import csp_replace
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from keys import selectors, words
from keys.models import ApiKey
from keys.views.console_words import console_words
from keys.views.presenting import KeyRow, key_rows
from tenants.current import TenantRequest, tenant_required
from tenants.models import Role

# The newest live keys that the choice offers; an older one is reached from its own page.
MOST_CHOICES = 100


@require_safe
@tenant_required()
def show_console(request: TenantRequest) -> HttpResponseBase:
    """The page around static/tollgate/console.js. Holds no credential: the script asks ``reveal_key`` for it.

    The page may connect to this portal and to the registered stages, and to nothing else.
    """
    api_keys = list(selectors.api_keys_of(request.tenant).live()[:MOST_CHOICES])
    chosen = _chosen(request, api_keys)
    if chosen is not None and chosen not in api_keys:
        api_keys.append(chosen)
    context = {
        "api_keys": api_keys,
        "chosen": chosen,
        "may_reveal": request.membership.may(Role.MEMBER),
        "console": {"keys": _key_data(api_keys), "words": console_words()},
    }

    # The policy follows the rows, so the decorator is put on here and not once for ever.
    @csp_replace({"connect-src": [SELF, *selectors.connect_sources()]})
    def page(request: HttpRequest) -> HttpResponseBase:
        return render(request, "keys/console.html", context)

    return page(request)


def _chosen(request: TenantRequest, api_keys: list[ApiKey]) -> ApiKey | None:
    """The key named by ``?key=``, else the newest. Raises Http404 for what is no key of the tenant."""
    wanted = request.GET.get("key")
    if wanted is None:
        return api_keys[0] if api_keys else None
    try:
        pk = uuid.UUID(wanted)
    except ValueError:
        raise Http404 from None
    return selectors.api_key_of(request.tenant, pk)


def _key_data(api_keys: list[ApiKey]) -> dict[str, dict[str, object]]:
    """What the script knows of each key, by id."""
    stages = selectors.endpoints_of(api_keys)
    rows = key_rows(api_keys, timezone.now())
    return {str(row.api_key.pk): _one_key(row, stages[row.api_key.pk].test_url if row.api_key.pk in stages else None) for row in rows}


def _state(row: KeyRow) -> str:
    """What the console has words for."""
    if row.is_suspended:
        return "suspended"
    return "renewing" if row.is_renewing else row.status.value


def _one_key(row: KeyRow, url: str | None) -> dict[str, object]:
    api_key, tier = row.api_key, row.api_key.tier
    return {
        "url": url,
        "lastFour": api_key.gateway_key.last_four,
        "status": _state(row),
        "limits": words.limits_text(tier),
        "rate": float(tier.throttle_rate),
        "burst": tier.throttle_burst,
        "quota": tier.quota_limit,
        "period": tier.get_quota_period_display() if tier.quota_limit else "",
        "resetsAt": row.usage.resets_at.isoformat(),
        "revealUrl": reverse("keys:reveal", args=[api_key.pk]),
        "pageUrl": reverse("keys:detail", args=[api_key.pk]),
    }
