"""Plan tiers from what the backend sustains, and make them so."""

from collections.abc import Iterable, Sequence
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_slug

from keys import planner
from keys.models import Stage
from keys.planner import Plan, TierPlan, UnableToPlan, Wish, number_text, percent_text
from keys.services import planning
from keys.words import counted
from tenants.audit import Actor

EPILOG = """A tier is written as NAME=SHARE and what else is wanted of it, with commas between:
  free=10,keys=1                    10 % of the rate over 1 gateway key
  basic=50,rate=20,tenants=10000    as many keys at 20 requests a second as 50 % carry
  basic=50,blast=0.1                as many keys as it takes that none carries more than 0.1 % of the tenants
  premium=40,siloed,tenants=500     a gateway key for each of 500 tenants
More: burst=50  quota=2000/DAY (or WEEK, MONTH)  spares=20  price=1999 (a month in minor units, of a new tier)
Isolation, quota and spares of a tier that exists stay as they are unless
they are said, and so does the burst where the rate stays."""

WHOLE = {"tenants", "keys", "burst", "spares", "price"}


class Command(BaseCommand):
    help = "Compute pool sizes, limits, blast radius and accounts from the backend's rate and a split of it; --apply makes the tiers."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        import argparse  # only here, for the lines of the epilog

        return super().create_parser(prog_name, subcommand, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tiers", nargs="+", metavar="tier=share[,wish...]", help="as below")
        parser.add_argument("--rate", required=True, help="requests a second that the backend sustains")
        parser.add_argument("--burst", type=int, help="requests that it takes at once; by default those of one second")
        parser.add_argument("--burst-seconds", default="0.5", help="a bucket's size in seconds of its rate, where a tier does not say it")
        parser.add_argument("--account-rate", default=str(planner.ACCOUNT_RATE), help="requests a second that AWS lets an account have")
        parser.add_argument("--account-burst", type=int, default=planner.ACCOUNT_BURST, help="and at once")
        parser.add_argument("--apply", action="store_true", help="create and change the tiers; without it nothing is changed")

    def handle(self, *args: Any, **options: Any) -> None:
        wishes, prices = [], {}
        for text in options["tiers"]:
            wish, price = parsed(text)
            wishes.append(wish)
            prices[wish.slug] = price
        around = planning.surroundings(
            rate=_number("--rate", options["rate"]),
            burst=options["burst"],
            burst_seconds=_number("--burst-seconds", options["burst_seconds"]),
            account_rate=_number("--account-rate", options["account_rate"]),
            account_burst=options["account_burst"],
        )
        try:
            plan = planner.plan(planning.completed(wishes), around)
            steps = planning.steps_of(plan, prices)
        except (UnableToPlan, planning.UnableToApplyPlan) as refusal:
            raise CommandError(str(refusal)) from refusal
        self._show(plan)
        if options["apply"]:
            steps = self._apply(plan, prices)
        self._tell(steps, done=options["apply"])

    def _show(self, plan: Plan) -> None:
        for line in table(plan):
            self.stdout.write(line)
        accounts = "1 account and Region" if plan.accounts == 1 else f"{plan.accounts:,} accounts and Regions"
        self.stdout.write(f"{counted(plan.gateway_keys, 'gateway key')} with spares and canaries, in {accounts}.")
        for caution in plan.warnings:
            self.stdout.write(self.style.WARNING(f"Warning: {caution.tier + ': ' if caution.tier else ''}{caution.text}"))
        self.stdout.write("")

    def _apply(self, plan: Plan, prices: dict[str, int]) -> list[planning.Step]:
        stages = list(Stage.objects.all())
        if not stages:
            raise CommandError("No stage is registered yet; run `manage.py connect_gateway` first.")
        try:
            return planning.apply_plan(plan=plan, stages=stages, prices=prices, actor=Actor.command("plan_tiers"))
        except planning.UnableToApplyPlan as refusal:
            raise CommandError(f"Nothing was changed. {refusal}") from refusal

    def _tell(self, steps: Iterable[planning.Step], *, done: bool) -> None:
        for step in steps:
            if step.does_nothing:
                self.stdout.write(f"{step.plan.slug}: is so already")
                continue
            verb = ("created" if done else "would be created") if step.creates else ("changed" if done else "would be changed")
            changes = "; ".join(f"{each.before + ' -> ' if each.before else ''}{each.after}" for each in step.changes)
            moved = f"; {counted(step.moved, 'API key moves and gets', 'API keys move and get')} another credential" if step.moved else ""
            self.stdout.write(f"{step.plan.slug}: {verb}: {changes}{moved}")
        if not done:
            self.stdout.write("Nothing was changed. --apply does it.")


def table(plan: Plan) -> list[str]:
    """The plan's tiers in columns."""
    head = ["tier", "share", "keys", "rate", "burst", "in all", "tenants a key", "rate a tenant", "blast radius", "quota"]
    rows = [head, *[_row(tier) for tier in plan.tiers]]
    total = ["", "", f"{sum(tier.keys for tier in plan.tiers):,}", "", "", number_text(plan.promised), "", "", "", ""]
    rows.append(total)
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in _cells(row, widths)) for row in rows]


def _cells(row: Sequence[str], widths: Sequence[int]) -> Iterable[tuple[int, tuple[str, int]]]:
    return enumerate(zip(row, widths, strict=True))


def _row(tier: TierPlan) -> list[str]:
    quota = f"{tier.quota_limit:,} a {tier.quota_period.lower()}" if tier.quota_limit else "none"
    rate_a_tenant = "" if tier.rate_a_tenant is None else number_text(tier.rate_a_tenant.quantize(Decimal("0.001"), ROUND_FLOOR))
    return [
        tier.slug,
        f"{number_text(tier.share)} %",
        f"{tier.keys:,}",
        number_text(tier.rate),
        f"{tier.burst:,}",
        number_text(tier.promised),
        "" if tier.tenants_a_key is None else f"{tier.tenants_a_key:,}",
        rate_a_tenant,
        percent_text(tier.blast_radius),
        quota,
    ]


def parsed(text: str) -> tuple[Wish, int]:
    """A tier as it is written for the command, and its price. Raises CommandError."""
    head, *rest = text.split(",")
    slug, equals, share = head.partition("=")
    try:
        validate_slug(slug if equals else "")
    except ValidationError:
        raise CommandError(f"{text}: write a tier as free=10,keys=1 - its name, =, and its share in percent.") from None
    wishes: dict[str, Any] = {"slug": slug.lower(), "share": _number(f"{slug}: its share", share.removesuffix("%"))}
    price = 0
    for part in rest:
        name, _equals, value = part.strip().partition("=")
        if name == "siloed" and not value:
            wishes["siloed"] = True
        elif name == "price":
            price = _whole(f"{slug}: {name}", value)
        elif name in WHOLE:
            wishes[name] = _whole(f"{slug}: {name}", value)
        elif name == "rate":
            wishes["rate"] = _number(f"{slug}: rate", value)
        elif name == "blast":
            wishes["blast_radius"] = _number(f"{slug}: blast", value.removesuffix("%")) / 100
        elif name == "quota":
            limit, _slash, period = value.partition("/")
            wishes |= {"quota_limit": _whole(f"{slug}: quota", limit), "quota_period": period.upper()}
        else:
            raise CommandError(f"{slug}: “{part}” is no wish; there are keys, rate, blast, tenants, burst, quota, spares, price, siloed.")
    return Wish(**wishes), price


def _whole(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise CommandError(f"{name}: give a whole number.")
    return int(text)


def _number(name: str, text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or len(text) > 15:
        raise CommandError(f"{name}: give a number.")
    return number
