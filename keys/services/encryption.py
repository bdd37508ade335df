"""Changing the key that stored values are encrypted under."""

from django.db import transaction

from keys import values
from keys.models import GatewayKey

CHUNK = 500


def rotate_encryption() -> int:
    """Encrypt every stored value under the newest of ENCRYPTION_KEYS; how many there are. Safe to repeat and to interrupt.

    Raises values.UnreadableValue at a value that no key opens; what was done until then stays done. Values never change after they
    were stored, so nothing else writes this column and no lock is needed.
    """
    count, last = 0, None
    while True:
        rows = GatewayKey.objects.order_by("pk").only("pk", "value_encrypted")
        chunk = list((rows.filter(pk__gt=last) if last else rows)[:CHUNK])
        if not chunk:
            return count
        for row in chunk:
            row.value_encrypted = values.reencrypt(row.value_encrypted)
        with transaction.atomic():
            GatewayKey.objects.bulk_update(chunk, ["value_encrypted"])
        count, last = count + len(chunk), chunk[-1].pk
