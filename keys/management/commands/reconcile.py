"""Compare everything on gateways with the database, and repair it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management.commands.converge import WHICH, chosen_gateways
from keys.models import Gateway
from keys.sync.converge import reconcile
from keys.words import counted


class Command(BaseCommand):
    help = "Compare everything on gateways with the database, show what differs, and repair it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("gateways", nargs="*", metavar="gateway", help=f"{WHICH}; all by default")
        parser.add_argument("--dry-run", action="store_true", help="only look: change nothing")
        parser.add_argument(
            "--most-deletions",
            type=int,
            metavar="N",
            help="keys that no row explains which may be disabled, and deleted; by default 5, or 1 %% of the keys if that is more",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        failed = [
            gateway.name
            for gateway in chosen_gateways(options["gateways"])
            if not self._reconcile(gateway, dry_run=options["dry_run"], most_deletions=options["most_deletions"])
        ]
        if failed:
            raise CommandError(f"Not done: {', '.join(failed)}.")

    def _reconcile(self, gateway: Gateway, *, dry_run: bool, most_deletions: int | None) -> bool:
        run = reconcile(gateway.pk, dry_run=dry_run, most_deletions=most_deletions)
        if run is None:
            self.stdout.write(f"{gateway.name}: a worker is busy with it, or it is left alone after failures; try again.")
            return False
        if run.error:
            self.stdout.write(f"{gateway.name}: {run.error}")
            return False
        findings = list(run.findings.order_by("pk"))
        seen = [counted(run.plans_listed, "usage plan"), counted(run.keys_listed, "key"), counted(run.calls, "call")]
        self.stdout.write(f"{gateway.name}: {', '.join([*seen, counted(len(findings), 'finding')])}")
        for finding in findings:
            change = f"{finding.before} -> {finding.after}" if finding.after else finding.before
            what = f"{finding.subject} {finding.label or finding.remote_id}"
            self.stdout.write(f"  {finding.get_kind_display()}: {what} ({change}). {finding.action}")
        if run.stopped:
            self.stdout.write(f"{gateway.name}: {run.stopped}")
        return dry_run or not run.stopped
