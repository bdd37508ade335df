"""Compare everything on gateways with the database, and repair it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management.commands.converge import chosen_gateways
from keys.models import Gateway
from keys.sync.converge import reconcile


class Command(BaseCommand):
    help = "Compare everything on gateways with the database, show what differs, and repair it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("gateways", nargs="*", metavar="gateway", help="names; all gateways by default")
        parser.add_argument("--dry-run", action="store_true", help="only look: change nothing")
        parser.add_argument(
            "--most-deletions",
            type=int,
            metavar="N",
            help="extra keys that may be disabled, and that may be deleted; by default 5, or 1 %% of the keys if that is more",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        failed = [
            gateway.name
            for gateway in chosen_gateways(options["gateways"])
            if not self._reconcile(gateway, dry_run=options["dry_run"], most_deletions=options["most_deletions"])
        ]
        if failed:
            raise CommandError(f"Not compared: {', '.join(failed)}.")

    def _reconcile(self, gateway: Gateway, *, dry_run: bool, most_deletions: int | None) -> bool:
        run = reconcile(gateway.pk, dry_run=dry_run, most_deletions=most_deletions)
        if run is None:
            self.stdout.write(f"{gateway.name}: a worker is busy with it, or it is left alone after failures; try again.")
            return False
        if run.error:
            self.stdout.write(f"{gateway.name}: {run.error}")
            return False
        findings = list(run.findings.order_by("pk"))
        self.stdout.write(f"{gateway.name}: {run.plans_listed} usage plans, {run.keys_listed} keys, {len(findings)} findings")
        for finding in findings:
            self.stdout.write(f"  {finding.subject} {finding.label or finding.remote_id}: {finding.detail} {finding.action}")
        return True
