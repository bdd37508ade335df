"""Drain a gateway and say how far that is."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from keys.drains import drain_of
from keys.management.commands.converge import WHICH, chosen_gateways
from keys.models import Gateway
from keys.services import draining
from keys.sync.draining import move_pool_keys
from keys.words import counted
from tenants.audit import Actor

ACTOR = Actor.command("drain_gateway")


class Command(BaseCommand):
    help = (
        "Let a gateway get no new keys, and move what can move: its pools go to their tiers' other gateways, its spares end. Siloed API "
        "keys stay, unless you say --move-siloed. Who is moved gets another credential and URL; the old ones work for 7 days. "
        "Webhooks tell of it; tenants without one read it on their key's page alone. The workers "
        "go on with it until all that can move has moved, or you say --undrain; run again, or --watch, for the progress."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("gateway", help=WHICH)
        parser.add_argument("--dry-run", action="store_true", help="say what is there, and change nothing")
        parser.add_argument("--move-siloed", action="store_true", help="let siloed API keys move, too; their tenants have 7 days to act")
        parser.add_argument("--undrain", action="store_true", help="move nothing more, and let it take new keys again; what left it stays")
        parser.add_argument(
            "--watch",
            type=float,
            metavar="SECONDS",
            help=(
                "print the progress this often until nothing is left: that takes the 7 days of keys that were replaced, and as long as "
                "siloed API keys stay that were not told to move"
            ),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        [gateway] = chosen_gateways([options["gateway"]])
        if options["undrain"]:
            self._undrain(gateway, dry_run=options["dry_run"])
            return
        if not options["dry_run"]:
            draining.drain(gateway=gateway, actor=ACTOR)
            while move_pool_keys(gateway.pk, actor=ACTOR):
                pass
            if options["move_siloed"]:
                draining.move_siloed(gateway=gateway, actor=ACTOR)
        self._show(gateway)
        while options["watch"] and drain_of(gateway).held:
            time.sleep(options["watch"])
            self._show(gateway)

    def _undrain(self, gateway: Gateway, *, dry_run: bool) -> None:
        if dry_run:
            self._show(gateway)
            self.stdout.write("Nothing was changed: this was a dry run.")
            return
        draining.undrain(gateway=gateway, actor=ACTOR)
        self.stdout.write(f"Gateway {gateway} takes new keys again.")

    def _show(self, gateway: Gateway) -> None:
        drain = drain_of(gateway)
        since = f"drained since {drain.since:%Y-%m-%d %H:%M} UTC" if drain.since else "not drained"
        self.stdout.write(f"Gateway {gateway}, {since}, holds {counted(drain.held, 'gateway key')}.")
        for line in drain.lines:
            self.stdout.write(f"  {line}")
