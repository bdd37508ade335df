"""Level the pool of a tier."""

from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.models import Isolation, Tier
from keys.planner import percent_text
from keys.services import pools
from keys.words import counted
from tenants.audit import Actor


class Command(BaseCommand):
    help = (
        "Move API keys from the fullest keys of a tier's pool to the emptiest, as few as level it. Their tenants get another "
        "credential; the old one works for 7 more days. Webhooks tell of it; tenants without one read it on their key's page alone."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tier", help="its slug")
        parser.add_argument("--most", type=int, default=pools.MOST_MOVED, metavar="N", help="API keys to move at most (%(default)s)")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")

    def handle(self, *args: Any, **options: Any) -> None:
        tier = Tier.objects.filter(slug=options["tier"]).first()
        if tier is None:
            known = ", ".join(Tier.objects.filter(isolation=Isolation.POOLED).order_by("slug").values_list("slug", flat=True))
            raise CommandError(f"There is no tier “{options['tier']}”. Pooled tiers: {known or 'none'}.")
        try:
            preview = pools.preview_rebalance(tier, options["most"])
            if options["dry_run"]:
                self._show(preview)
                return
            moved = pools.rebalance_pool(tier=tier, most=options["most"], actor=Actor.command("rebalance_pool"))
            left = pools.preview_rebalance(tier).moved
        except pools.UnableToChangePool as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"{tier.slug}: moved {counted(moved, 'API key')}." if moved else f"{tier.slug}: level already, nobody was moved.")
        if left:
            self.stdout.write(f"{left:,} more would level it: run it again.")

    def _show(self, preview: pools.Preview) -> None:
        if not preview.moved:
            self.stdout.write("The pool is level already: nobody would move. Nothing was changed.")
            return
        self.stdout.write(
            f"Now: {preview.emptiest_before:,} to {preview.fullest_before:,} API keys a key, {_blast(preview.blast_radius_before)}."
        )
        self.stdout.write(f"Then: {preview.emptiest:,} to {preview.fullest:,}, {_blast(preview.blast_radius)}.")
        elsewhere = f", {preview.new_url:,} of them to another URL" if preview.new_url else ""
        self.stdout.write(f"{counted(preview.moved, 'API key')} would move{elsewhere}. Nothing was changed.")


def _blast(share: float | None) -> str:
    return f"blast radius {percent_text(Decimal(share or 0))}"
