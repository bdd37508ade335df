"""When a delivery that failed is tried again, and how long an endpoint that fails is left alone."""

import random
from datetime import datetime, timedelta

from tenants.models import WebhookDelivery
from tenants.models.webhook import TRIED_FOR_HOURS

TRIED_FOR = timedelta(hours=TRIED_FOR_HOURS)
# What could not even be tried in time (its endpoint rests, or is disabled) is parked a little later than what was.
GRACE = timedelta(hours=1)

FIRST_SECONDS = 10
LONGEST_SECONDS = 6 * 3600
# An endpoint is left alone after so many failures in a row, for a second at first and a minute at most.
FAILURES_BEFORE_REST = 3
LONGEST_REST_SECONDS = 60


def next_try(delivery: WebhookDelivery, attempts: int, now: datetime) -> datetime | None:
    """When it is tried after ``attempts`` failures, the last of them at ``now``; None: no more, it is parked.

    Full jitter: anywhere up to a bound that doubles from seconds to hours, so that what failed together does not come back together.
    The last try is at the very end of the 72 hours.
    """
    ends_at = delivery.created_at + TRIED_FOR
    if now >= ends_at:
        return None
    bound = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(attempts - 1, 20))
    delay = max(1.0, random.uniform(0, bound))  # noqa: S311 - spreads retries, hides nothing
    return min(now + timedelta(seconds=delay), ends_at)


def rest_until(failures: int, now: datetime) -> datetime | None:
    """Until when an endpoint rests that failed so often in a row; None: not at all.

    However much is waiting, a receiver that is down is asked about once a minute, and what waits for it holds up nobody else.
    """
    if failures < FAILURES_BEFORE_REST:
        return None
    bound = min(LONGEST_REST_SECONDS, 2 ** min(failures - FAILURES_BEFORE_REST, 10))
    return now + timedelta(seconds=random.uniform(bound / 2, bound))  # noqa: S311 - as above
