"""Telling tenants that somebody changed behind our back what their API keys stand on: in the history that they can read."""

import uuid
from collections.abc import Sequence

from django.db import transaction

from keys.models import ApiKey
from keys.sync.drift import Difference, Kind, Subject
from tenants.audit import SYSTEM, record_each

# What a tenant could notice. A name or a second copy of a key changes nothing for callers.
NOTICED = (Kind.MISSING, Kind.WRONG_ENABLED, Kind.DETACHED, Kind.WRONG_PLAN)
# API keys told of in one run; a gateway that forgot everything is no news of one tenant's.
MOST = 1000


def tell_tenants(differences: Sequence[Difference]) -> int:
    """Write ``api_key.repaired`` for the live API keys whose gateway key was found changed, up to MOST; how many."""
    found: dict[uuid.UUID, Kind] = {}
    for each in differences:
        if each.subject is Subject.KEY and each.kind in NOTICED and each.row_id is not None:
            found.setdefault(each.row_id, each.kind)
    rows = ApiKey.objects.live().filter(gateway_key__in=list(found)[:MOST]).order_by("pk")
    by_kind: dict[Kind, list[ApiKey]] = {}
    for row in rows[:MOST]:
        by_kind.setdefault(found[row.gateway_key_id], []).append(row)
    with transaction.atomic():
        for kind, api_keys in by_kind.items():
            targets = [(row, row.tenant_id) for row in api_keys]
            record_each(actor=SYSTEM, action="api_key.repaired", targets=targets, data={"found": kind.value})
    return sum(len(api_keys) for api_keys in by_kind.values())
