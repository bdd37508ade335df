"""The context of a key's page, which several views render."""

from typing import Any

from django.urls import reverse
from django.utils import timezone

from keys import selectors
from keys.models import ApiKey
from keys.queues import about_text, ready_in
from keys.views.charts import bar_chart
from keys.views.presenting import history_lines, key_rows, old_credentials
from keys.views.snippets import snippets
from tenants.current import TenantRequest
from tenants.models import Role


def detail_context(request: TenantRequest, api_key: ApiKey, credential: str | None = None) -> dict[str, Any]:
    """What keys/detail.html and its fragments need; ``credential`` in clear only in the answer to a reveal."""
    now = timezone.now()
    [row] = key_rows([api_key], now)
    endpoint = selectors.endpoint_of(api_key)
    seconds = ready_in([api_key], now).get(api_key.pk)
    return {
        "api_key": api_key,
        "tier": api_key.tier,
        "row": row,
        "wait": "" if seconds is None else about_text(seconds),
        "endpoint": endpoint,
        "credential": credential,
        "old_credentials": old_credentials(api_key, selectors.other_credentials(api_key, now), now),
        "snippets": snippets(endpoint.test_url, credential) if endpoint else [],
        "chart": bar_chart(selectors.usage_days(api_key, now)),
        "history": history_lines(selectors.history_of(api_key)),
        "console_url": f"{reverse('keys:console')}?key={api_key.pk}",
        "may_change": request.membership.may(Role.MEMBER),
    }
