"""Work on everything that is due, in the foreground."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from keys.models import Gateway
from keys.selectors import pending_of
from keys.sync.converge import converge

PAUSE_SECONDS = 1
# How a gateway is named on the command line.
WHICH = "its name, or AWS account and Region as 123456789012:us-east-1"


class Command(BaseCommand):
    help = "Make gateways equal to the database now, without waiting for the workers. Safe beside them: one speaks to a gateway at a time."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("gateways", nargs="*", metavar="gateway", help=f"{WHICH}; all by default")
        parser.add_argument("--wait", type=int, default=0, metavar="SECONDS", help="go on until nothing is pending, so long at most")

    def handle(self, *args: Any, **options: Any) -> None:
        gateways = chosen_gateways(options["gateways"])
        deadline = time.monotonic() + options["wait"]
        while True:
            for gateway in gateways:
                converge(gateway.pk)
            waiting = {gateway.name: sum(pending_of(gateway, timezone.now())) for gateway in gateways}
            if not any(waiting.values()) or time.monotonic() >= deadline:
                break
            time.sleep(PAUSE_SECONDS)
        for gateway in gateways:
            gateway.refresh_from_db()
            trouble = f" ({gateway.last_error})" if gateway.last_error else ""
            self.stdout.write(f"{gateway.name}: {waiting[gateway.name]:,} pending{trouble}")
        if any(waiting.values()):
            raise CommandError("Not everything is done yet. The reasons stand on the rows, in the staff's pages.")


def chosen_gateways(texts: list[str]) -> list[Gateway]:
    """The gateways that are meant, each by its name or by AWS account and Region; all when there are none. Raises CommandError."""
    every = list(Gateway.objects.order_by("name"))
    known = {f"{gateway.account_id}:{gateway.region}": gateway for gateway in every} | {gateway.name: gateway for gateway in every}
    unknown = [text for text in texts if text not in known]
    if unknown:
        names = ", ".join(gateway.name for gateway in every) or "none"
        raise CommandError(f"No gateway is named {', '.join(unknown)}. There are: {names}.")
    return [known[text] for text in texts] if texts else every
