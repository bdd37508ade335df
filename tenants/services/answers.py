"""Rows of first answers to requests with an Idempotency-Key: claimed before the work, filled in after it, all in one transaction.

Race: twins. The row's unique key lets one of them insert it; on PostgreSQL the others wait there until the first one is committed, for
TWIN_SECONDS at most. (SQLite has one writer at a time, and its connection's time-out bounds every wait.)
"""

from collections.abc import Mapping

from django.db import OperationalError, connection

from tenants import secret_values
from tenants.models import IdempotentAnswer

TWIN_SECONDS = 15
LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL's code for a lock that was waited for too long


class TwinAtWork(Exception):
    """The first request with this key is still being worked on, and was waited for long enough."""


def claim(*, caller: str, key: str, fingerprint: str) -> tuple[IdempotentAnswer, bool]:
    """The key's row, and whether it is new; call it inside the transaction of the work, first of all. Raises TwinAtWork."""
    try:
        _bound_waiting(f"{TWIN_SECONDS}s")
        found = IdempotentAnswer.objects.get_or_create(caller=caller, key=key, defaults={"fingerprint": fingerprint})
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != LOCK_NOT_AVAILABLE:
            raise
        raise TwinAtWork from None
    _bound_waiting("DEFAULT")
    return found


def keep(answer: IdempotentAnswer, *, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Fill in what was answered; the body is encrypted."""
    answer.status, answer.headers = status, dict(headers)
    answer.body = secret_values.encrypt(body.decode())
    answer.save(update_fields=["status", "headers", "body"])


def give_up(answer: IdempotentAnswer) -> None:
    """Free the key: the request was refused before any work began."""
    answer.delete()


def _bound_waiting(longest: str) -> None:
    """How long this transaction waits for a lock."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout TO {longest if longest == 'DEFAULT' else repr(longest)}")
