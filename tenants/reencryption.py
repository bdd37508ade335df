"""Changing the key that stored values are encrypted under."""

from typing import Any

from django.db import models, transaction

from tenants import secret_values
from tenants.models import IdempotentAnswer, WebhookEndpoint

CHUNK = 500


def reencrypt_columns(model: type[models.Model], *columns: str) -> int:
    """Encrypt these columns of every row under the newest of ENCRYPTION_KEYS, empty ones left; how many values there are.

    Safe to repeat and to interrupt. Raises secret_values.UnreadableValue at a value that no key opens; what was done until then stays
    done. A chunk's rows are locked: what is replaced at the same moment is not brought back.
    """
    count, last = 0, None
    while True:
        with transaction.atomic():
            rows = model._default_manager.select_for_update(no_key=True).order_by("pk").only("pk", *columns)
            chunk: list[Any] = list((rows.filter(pk__gt=last) if last is not None else rows)[:CHUNK])
            for row in chunk:
                for column in columns:
                    if stored := getattr(row, column):
                        setattr(row, column, secret_values.reencrypt(stored))
                        count += 1
            if not chunk:
                return count
            model._default_manager.bulk_update(chunk, columns)
        last = chunk[-1].pk


def reencrypt_all() -> int:
    """Everything that tenants' own models keep encrypted: secrets of webhooks, first answers of requests; how many values."""
    endpoints = reencrypt_columns(WebhookEndpoint, "secret_encrypted", "old_secret_encrypted")
    return endpoints + reencrypt_columns(IdempotentAnswer, "body")
