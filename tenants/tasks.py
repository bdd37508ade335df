"""Celery tasks: couriers of one line."""

from celery import shared_task


@shared_task(name="tenants.deliver_webhooks")
def deliver_webhooks(**kwargs: object) -> None:
    """Send the webhooks that are due, and look after the old ones. Runs in the queue ``webhooks`` (CELERY_TASK_ROUTES)."""
    from tenants.webhooks.deliver import take_turn  # web processes only send this task, and need no HTTP client for that

    take_turn()
