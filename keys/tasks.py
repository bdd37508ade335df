"""Celery tasks: couriers of one line. What they carry is an id, never a change.

Sync is imported when a task runs: web processes only send tasks, and need no boto3 for that.
"""

import uuid

from celery import shared_task
from django.conf import settings


@shared_task(name="keys.converge")
def converge(*, gateway_id: str, **kwargs: object) -> None:
    """Make one gateway equal to the desired columns. What takes longer than a turn goes on in a message of its own, behind those of other
    gateways."""
    from keys.sync.converge import converge as converge_gateway  # see above

    if converge_gateway(uuid.UUID(gateway_id)):
        converge.delay(gateway_id=gateway_id)


@shared_task(name="keys.reconcile")
def reconcile(*, gateway_id: str, dry_run: bool = False, **kwargs: object) -> None:
    """Compare one gateway with the database and, unless ``dry_run``, repair it. Nothing happens while another worker is busy with it."""
    from keys.sync.converge import reconcile as reconcile_gateway  # see above

    reconcile_gateway(uuid.UUID(gateway_id), dry_run=dry_run)


@shared_task(name="keys.sweep")
def sweep(**kwargs: object) -> None:
    """Find what a lost bell left behind, and ring again. A bell that nobody hears in time is worth nothing: the next sweep rings anew."""
    from keys.sync.sweep import sweep as find_work  # see above

    find_work(lambda gateway_id: converge.apply_async(kwargs={"gateway_id": str(gateway_id)}, expires=settings.MESSAGE_SECONDS))


@shared_task(name="keys.canaries")
def canaries(**kwargs: object) -> None:
    """Call the canaries whose time has come."""
    from keys.sync.canaries import call_canaries  # see above

    call_canaries()
