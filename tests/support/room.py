"""Looking at the room of gateways, and giving some back as the workers do."""

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from keys.models import Gateway, GatewayKey
from keys.models.room import give_back


def remove(gateway_key: GatewayKey) -> bool:
    """What a worker writes once a key is gone, with its locks in its order; whether it still was there."""
    with transaction.atomic():
        Gateway.objects.filter(pk=gateway_key.gateway_id).update(lease_owner="worker")
        gone = bool(GatewayKey.objects.filter(pk=gateway_key.pk, removed_at=None).update(removed_at=timezone.now()))
        if gone:
            give_back(gateway_key.gateway_id)
    return gone


def counts() -> list[tuple[int, int, int]]:
    """Of each gateway, as one statement sees them: the count that is kept, the rows there are, the cap."""
    rows = Count("gateway_keys", filter=Q(gateway_keys__removed_at=None))
    return list(Gateway.objects.annotate(rows=rows).order_by("created_at").values_list("room__held", "rows", "capacity"))
