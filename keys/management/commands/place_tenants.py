"""Give each of many tenants one API key of a pooled tier."""

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

from keys.models import Tier
from keys.services import bulk
from keys.services.refusals import UnableToBuyKey
from keys.words import counted
from tenants.audit import Actor
from tenants.models import Tenant

ACTOR = Actor.command("place_tenants")


class Command(BaseCommand):
    help = (
        "Give each of many tenants one API key of a pooled tier: those that are named, those of a file, or all. Tenants that have a live "
        "key of the tier, and suspended ones, are left as they are, so a run that was broken off is started again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenants", nargs="*", metavar="ID", help="a tenant's id, as its staff page shows it")
        parser.add_argument("--tier", required=True, metavar="SLUG", help="a pooled tier that is for sale")
        parser.add_argument("--all", action="store_true", help="every tenant")
        parser.add_argument("--file", type=Path, metavar="FILE", help="a tenant's id on each line")
        parser.add_argument("--name", metavar="TEXT", help="what the keys are called; by default as the tier")
        parser.add_argument("--chunk", type=int, default=bulk.CHUNK, metavar="N", help="tenants a transaction (default %(default)s)")
        parser.add_argument("--dry-run", action="store_true", help="only say how many would get a key")

    def handle(self, *args: Any, **options: Any) -> None:
        chunk = options["chunk"]
        if chunk < 1:
            raise CommandError("--chunk: give a number of 1 or more.")
        tier = Tier.objects.filter(slug=options["tier"]).first()
        if tier is None:
            pooled = ", ".join(Tier.objects.for_sale().filter(pool__isnull=False).values_list("slug", flat=True)) or "none"
            raise CommandError(f"--tier: there is no tier “{options['tier']}”. Pooled tiers on sale: {pooled}.")
        sets = list(_sets(options["tenants"], options["file"], every=options["all"], chunk=chunk))
        if options["dry_run"]:
            self.stdout.write(f"{counted(sum(bulk.lacking(tier, tenants).count() for tenants in sets), 'tenant')} would get a key.")
            return
        self._place(tier, sets, options["name"] or tier.name, chunk)

    def _place(self, tier: Tier, sets: Sequence[QuerySet[Tenant]], name: str, chunk: int) -> None:
        placed = left_out = 0
        try:
            for tenants in sets:
                for part in bulk.place_tenants(tier=tier, tenants=tenants, name=name, actor=ACTOR, chunk=chunk):
                    placed += part.placed
                    left_out += part.lacking - part.placed
                    self.stdout.write(f"{counted(placed, 'tenant')} placed")
        except UnableToBuyKey as refusal:
            raise CommandError(str(refusal)) from refusal
        if left_out:
            raise CommandError(
                f"{counted(left_out, 'tenant')} found no place: the pool lacks gateway keys. "
                "Set its size again (resize it), then start again."
            )


def _sets(ids: Sequence[str], file: Path | None, *, every: bool, chunk: int) -> Iterator[QuerySet[Tenant]]:
    """The chosen tenants; a file's in as many sets as it has chunks. Raises CommandError."""
    if (bool(ids), file is not None, every).count(True) != 1:
        raise CommandError("Say which tenants: their ids, or --file, or --all. One of the three.")
    if every:
        yield Tenant.objects.all()
        return
    source = "" if file is None else f"{file}, line "
    found = [_tenant_id(line, f"{source}{number}") for number, line in enumerate(ids if file is None else _lines(file), 1) if line.strip()]
    for start in range(0, len(found), chunk):
        part = found[start : start + chunk]
        tenants = Tenant.objects.filter(pk__in=part)
        unknown = set(part).difference(tenants.values_list("pk", flat=True))
        if unknown:
            raise CommandError(f"No tenant has the id {next(each for each in part if each in unknown)}. Nothing was done.")
        yield tenants


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--file: {file} cannot be read as text ({type(error).__name__}).") from error


def _tenant_id(text: str, place: str) -> uuid.UUID:
    try:
        return uuid.UUID(text.strip())
    except ValueError:
        raise CommandError(f"{place}: “{text.strip()[:60]}” is no tenant's id. The staff page of a tenant shows it.") from None
