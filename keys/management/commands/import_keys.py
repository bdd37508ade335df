"""Buy an API key for each line of a CSV file."""

import hashlib
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from keys import selectors, sheets
from keys.management.sheets import add_common_arguments, chosen_tenant, opened
from keys.models import ApiKey, Tier
from keys.services import api_keys, purchases
from keys.words import counted, number_of
from tenants.audit import Actor
from tenants.models import Tenant

ACTOR = Actor.command("import_keys")
MOST_PROBLEMS_SHOWN = 50
REFUSED = "refused"


class Command(BaseCommand):
    help = (
        "Buy an API key for each line of a CSV file with the columns tier, name, description and, if you like, reference. Nothing is "
        "bought when the file has an error. The same file again buys nothing twice, so an import that was broken off is started again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="CSV, UTF-8, with a header")
        parser.add_argument("--dry-run", action="store_true", help="only check the file, and say what would be bought")
        add_common_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = chosen_tenant(options["tenant"])
        content = _content(options["file"])
        lines = self._lines(content)
        if tenant.suspended_at is not None:
            raise CommandError(f"{tenant.name} is suspended, so nothing can be bought for it. Resume it first.")
        items = _items(tenant, content, lines)
        if options["dry_run"]:
            self._preview(tenant, items)
            return
        output: Path | None = options["output"]
        if output is not None and output.exists() and output.samefile(options["file"]):
            raise CommandError("--output: this is the file to be imported. Name another one.")
        columns = ["line", "reference", "name", "status", "id", "endpoint", "error"]
        columns += ["credential"] if options["with_credentials"] else []
        with opened(output, self.stdout) as file:
            writer = sheets.Writer(file, columns)
            counts: Counter[str] = Counter()
            for start in range(0, len(lines), purchases.MOST_ITEMS):
                chunk = slice(start, start + purchases.MOST_ITEMS)
                rows = _bought(tenant, lines[chunk], items[chunk], with_credentials=options["with_credentials"])
                for row in rows:
                    writer.write(row)
                file.flush()
                counts.update("refused" if row["status"] == REFUSED else "bought" for row in rows)
        self.stderr.write(
            f"{counted(len(lines), 'line')}: {counted(counts['bought'], 'key stands', 'keys stand')}, "
            f"{counted(counts['refused'], 'line was', 'lines were')} refused.",
            str,
        )
        if counts["refused"]:
            raise CommandError("The column “error” says why. The same command again tries the refused lines and leaves the others.")

    def _lines(self, content: bytes) -> list[sheets.Line]:
        """The file's lines, all of them fit to be bought. Raises CommandError after telling what is wrong."""
        try:
            lines = sheets.read(content)
            problems = _problems(lines)
        except sheets.UnreadableSheet as error:
            problems = error.problems
        if problems:
            for problem in problems[:MOST_PROBLEMS_SHOWN]:
                self.stderr.write(str(problem))
            more = len(problems) - MOST_PROBLEMS_SHOWN
            raise CommandError(
                "Nothing was bought: mend the file."
                + (f" {counted(more, 'more line has', 'more lines have')} problems." if more > 0 else "")
            )
        return lines

    def _preview(self, tenant: Tenant, items: Sequence[purchases.Item]) -> None:
        before = selectors.bought_tokens(tenant, [item.purchase_token for item in items])
        wanted = Counter(item.tier for item in items if item.purchase_token not in before)
        self.stdout.write(f"{counted(len(items), 'line')}, {number_of(len(before))} of them bought before.")
        too_many = False
        for tier, count in wanted.items():
            if isinstance(tier, Tier):
                allowed = max(0, tier.max_api_keys - purchases.live_count(tenant, tier))
                too_many = too_many or count > allowed
                self.stdout.write(f"{tier.slug}: {number_of(count)} to buy; its maximum allows {number_of(allowed)} more.")
        if too_many:
            raise CommandError("Some lines would be refused: raise the tier's maximum, or import fewer.")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path} cannot be read ({error.strerror}).") from error


def _problems(lines: Sequence[sheets.Line]) -> list[sheets.Problem]:
    """What is wrong with the lines' contents."""
    tiers = _tiers()
    on_sale = ", ".join(sorted(slug for slug, tier in tiers.items() if tier.retired_at is None)) or "none"
    problems = []
    for line in lines:
        tier = tiers.get(line.tier)
        if tier is None or tier.retired_at is not None:
            why = "there is no tier" if tier is None else "no longer sold is"
            problems.append(sheets.Problem(line=line.number, text=f"{why} “{sheets.printable(line.tier)}”. On sale: {on_sale}."))
        try:
            purchases.refuse_unfit_text(line.name, line.description)
        except purchases.UnfitText as refusal:
            problems.append(sheets.Problem(line=line.number, text=str(refusal)))
    return problems


def _tiers() -> dict[str, Tier]:
    return {tier.slug: tier for tier in Tier.objects.all()}


def _items(tenant: Tenant, content: bytes, lines: Sequence[sheets.Line]) -> list[purchases.Item]:
    """The purchases, with tokens that are the same whenever the same file is read.

    A line with a reference is known by that, wherever it stands and whatever else the file holds; any other one by the file's
    content and its number.
    """
    tiers = _tiers()
    digest = hashlib.sha256(content).hexdigest()
    return [
        purchases.Item(
            tier=tiers[line.tier],
            name=line.name,
            description=line.description,
            purchase_token=uuid.uuid5(tenant.pk, f"reference:{line.reference}" if line.reference else f"file:{digest}:{line.number}"),
        )
        for line in lines
    ]


def _bought(
    tenant: Tenant, lines: Sequence[sheets.Line], items: Sequence[purchases.Item], *, with_credentials: bool
) -> list[dict[str, object]]:
    """Buy one chunk: a row of the output for each of its lines."""
    outcomes = purchases.buy_many(tenant=tenant, items=items, actor=ACTOR)
    bought = [outcome for outcome in outcomes if isinstance(outcome, ApiKey)]
    stages = selectors.endpoints_of(bought)
    credentials = _credentials(bought) if with_credentials else {}
    now = timezone.now()
    renewing = selectors.renewing_among(bought, now)
    rows: list[dict[str, object]] = []
    for line, outcome in zip(lines, outcomes, strict=True):
        row: dict[str, object] = {"line": line.number, "reference": line.reference, "name": line.name}
        if isinstance(outcome, ApiKey):
            stage = stages.get(outcome.pk)
            status = outcome.status(now, renewing=outcome.pk in renewing)
            row |= {"status": status.value, "id": outcome.pk, "credential": credentials.get(outcome.pk)}
            row["endpoint"] = stage.invoke_url if stage is not None else None
            if outcome.tier.slug != line.tier:
                row["error"] = f"Bought before, of the tier {outcome.tier.slug}; nothing was changed."
        else:
            row |= {"status": REFUSED, "error": str(outcome)}
        rows.append(row)
    return rows


def _credentials(bought: Sequence[ApiKey]) -> dict[uuid.UUID, str]:
    live = list({api_key.pk: api_key for api_key in bought if api_key.revoked_at is None}.values())
    try:
        return api_keys.reveal_each(api_keys=live, actor=ACTOR)
    except api_keys.UnableToChangeKey as refusal:
        raise CommandError(f"The keys were bought, but: {refusal} Start again later; nothing is bought twice.") from refusal
