"""Take over usage plans and keys that an account has already."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys import holders
from keys.management.commands.converge import WHICH, chosen_gateways
from keys.models import Adoption, Gateway, Stage, Tier
from keys.proposals import Decision, PlanSeen, Proposal, Take, keys_taken, left_alone, obstacles, suggestions
from keys.services import adoptions
from keys.sync.adoption import UnableToLook, look_at
from keys.sync.converge import converge, go_first
from keys.takeover import limits_text
from keys.tally import Tally
from keys.words import counted
from tenants.audit import Actor

ACTOR = Actor.command("adopt_gateway")
PAUSE_SECONDS = 1
KEYS_SHOWN = 10
PROBLEMS_SHOWN = 50


class Command(BaseCommand):
    help = (
        "Take over usage plans and keys that an account has already, made by hand, by Terraform, by anything but Tollgate. Without --yes "
        "it only looks and says what it would do. Nothing at API Gateway is changed but names, and those after a yes; keys go on working."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("gateway", help=WHICH)
        parser.add_argument("--yes", action="store_true", help="do it")
        parser.add_argument("--leave", action="append", default=[], metavar="PLAN", help="leave this usage plan (id or name) as it is")
        parser.add_argument("--pool", action="append", default=[], metavar="PLAN", help="take this usage plan over as a pooled tier")
        parser.add_argument(
            "--tenant",
            default="",
            help="to whom all keys belong: a tenant's id, or a new one's name (default: each to a tenant of its own)",
        )
        parser.add_argument(
            "--tenants",
            type=Path,
            metavar="FILE",
            help="to whom single keys belong, as CSV with the columns key (id or name) and tenant (a tenant's id, or a new one's name)",
        )
        parser.add_argument("--write-tenants", type=Path, metavar="FILE", help="write such a file with all keys, to be filled in")
        parser.add_argument(
            "--new-tenants",
            type=int,
            metavar="N",
            help=f"with --yes: how many new tenants that makes; to be said where they are more than {adoptions.MOST_UNSAID}",
        )
        parser.add_argument("--decisions", type=Path, metavar="FILE", help="what to do with each usage plan, as JSON")
        parser.add_argument("--write-decisions", type=Path, metavar="FILE", help="write what would be done as JSON, to be edited")
        parser.add_argument(
            "--wait", type=int, default=180, metavar="SECONDS", help="for the gateway while a worker is busy with it, or it answers badly"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        [gateway] = chosen_gateways([options["gateway"]])
        deadline = time.monotonic() + options["wait"]
        if not options["yes"]:
            self._look(gateway, _looked(gateway, deadline), options)
            return
        adoption = _asked(gateway)
        try:
            adoption = self._wait(adoption, deadline, lambda row: row.proposed_at is not None)
            proposal = Proposal.read(adoption.proposal)
            decisions = self._decisions(proposal, options)
            self._show(gateway, proposal, decisions)
            self._tell(gateway, proposal, decisions)
            adoptions.confirm(adoption=adoption, decisions=decisions, new_tenants=options["new_tenants"], actor=ACTOR)
        except (CommandError, adoptions.UnfitDecision, adoptions.UnableToAdopt) as error:
            _withdrawn(adoption)
            raise CommandError(f"{_where(error)}{error} Nothing was taken over.") from error
        adoption = self._wait(adoption, deadline, lambda row: row.applied_at is not None)
        report = adoption.report
        for left in report["left"]:
            self.stdout.write(f"Left: {left['name']} ({left['id']}). {left['why']}")
        keys, plans, made = (
            counted(report["keys"], "key"),
            counted(len(report["plans"]), "usage plan"),
            counted(report["tenants"], "tenant"),
        )
        self.stdout.write(f"Done. Keys taken over: {keys} of {plans}; made: {made}.")
        self.stdout.write("New tiers are closed to buyers: give them a price, then reopen them on the staff's pages.")

    def _wait(self, adoption: Adoption, deadline: float, is_done: Any) -> Adoption:
        """Work on it here, or wait for the worker that is at it. Raises CommandError."""
        while True:
            converge(adoption.gateway_id)
            adoption.refresh_from_db()
            if adoption.error:
                raise CommandError(adoption.error)
            if is_done(adoption):
                return adoption
            if time.monotonic() >= deadline:
                adoption.gateway.refresh_from_db()
                trouble = f" {adoption.gateway.last_error}" if adoption.gateway.last_error else ""
                raise CommandError(f"The gateway is busy, or left alone after failures; the staff's pages show how it goes on.{trouble}")
            time.sleep(PAUSE_SECONDS)

    def _look(self, gateway: Gateway, proposal: Proposal, options: dict[str, Any]) -> None:
        """Say what would be done, and write the files that were asked for."""
        if not proposal.plans:
            self.stdout.write(f"{gateway.name} holds no usage plan that Tollgate did not make: there is nothing to take over.")
            return
        decisions = self._decisions(proposal, options)
        self._show(gateway, proposal, decisions)
        if options["write_decisions"]:
            text = json.dumps({"plans": [decision.as_json() for decision in decisions]}, indent=2)
            _write(options["write_decisions"], lambda file: file.write(text + "\n"))
        if options["write_tenants"]:
            _write(options["write_tenants"], lambda file: holders.write(file, proposal))
        made = self._tell(gateway, proposal, decisions)
        if made is None:
            self.stdout.write("Nothing was changed.")
        elif made.new_tenants > adoptions.MOST_UNSAID:
            self.stdout.write(f"Nothing was changed. With --yes --new-tenants {made.new_tenants} this is done.")
        else:
            self.stdout.write("Nothing was changed. With --yes this is done.")

    def _tell(self, gateway: Gateway, proposal: Proposal, decisions: Sequence[Decision]) -> Tally | None:
        """What the decisions make, in numbers; None where they cannot be carried out, which is said too."""
        try:
            made = adoptions.preview(gateway=gateway, proposal=proposal, decisions=decisions)
        except adoptions.UnfitDecision as refusal:
            self.stdout.write(f"It cannot be done so. {_where(refusal)}{refusal}")
            return None
        self.stdout.write(" ".join(["In all:", *made.sentences]))
        return made

    def _decisions(self, proposal: Proposal, options: dict[str, Any]) -> list[Decision]:
        """What the options say. Raises CommandError, after telling what is wrong with the file of tenants."""
        decisions = _decisions(proposal, options)
        if options["tenants"] is None:
            return decisions
        try:
            return adoptions.assigned(proposal=proposal, decisions=decisions, content=_content(options["tenants"]))
        except adoptions.UnreadableSheet as error:
            for problem in error.problems[:PROBLEMS_SHOWN]:
                self.stderr.write(f"{options['tenants']}: {problem}")
            more = len(error.problems) - PROBLEMS_SHOWN
            rest = f" {counted(more, 'more problem')}." if more > 0 else ""
            raise CommandError(f"--tenants: mend the file.{rest}") from error

    def _show(self, gateway: Gateway, proposal: Proposal, decisions: Sequence[Decision]) -> None:
        registered = {stage.remote_key for stage in Stage.objects.filter(gateway=gateway)}
        by_plan = {decision.plan: decision for decision in decisions}
        keys = sum(len(plan.keys) for plan in proposal.plans)
        self.stdout.write(f"{gateway.name}: {counted(len(proposal.plans), 'usage plan')} of others, with {counted(keys, 'key')}.")
        for plan in proposal.plans:
            self._show_plan(plan, by_plan.get(plan.id) or Decision(plan=plan.id, take=Take.LEAVE), registered)
        if proposal.loose_keys:
            self.stdout.write(f"In no usage plan, and left as they are: {counted(proposal.loose_keys, 'key')}.")

    def _show_plan(self, plan: PlanSeen, decision: Decision, registered: set[str]) -> None:
        limits = limits_text(plan, decision)
        self.stdout.write(
            f"- {plan.name} ({plan.id}): {limits}; {counted(len(plan.keys), 'key')}; stages {', '.join(plan.stages) or 'none'}"
        )
        if decision.take is Take.LEAVE:
            self.stdout.write("  is left as it is." if plan.keys else "  has no keys: it is left as it is.")
            return
        for _field, words in obstacles(plan, decision, registered):
            self.stdout.write(f"  CANNOT BE TAKEN OVER: {words}")
        how = "new" if not Tier.objects.filter(slug=decision.tier).exists() else "existing"
        taken = keys_taken(plan, decision.take)
        self.stdout.write(f"  becomes the {how} {decision.take} tier {decision.tier} with {counted(len(taken), 'key')}.")
        left = [(key, why) for key in plan.keys if (why := left_alone(key, decision.take))]
        for key, why in left[:KEYS_SHOWN]:
            self.stdout.write(f"  left: {key.name} ({key.id}). {why}")
        if len(left) > KEYS_SHOWN:
            self.stdout.write(f"  left for such reasons: {counted(len(left) - KEYS_SHOWN, 'more key')}.")


def _looked(gateway: Gateway, deadline: float) -> Proposal:
    while True:
        try:
            proposal = look_at(gateway.pk, go_first)
        except UnableToLook as error:
            raise CommandError(str(error)) from error
        if proposal is not None:
            return proposal
        if time.monotonic() >= deadline:
            raise CommandError(f"{gateway.name}: a worker is busy with it, or it is left alone after failures; try again.")
        time.sleep(PAUSE_SECONDS)


def _asked(gateway: Gateway) -> Adoption:
    try:
        return adoptions.ask(gateway=gateway, actor=ACTOR)
    except adoptions.UnableToAdopt as error:
        raise CommandError(str(error)) from error


def _withdrawn(adoption: Adoption) -> None:
    adoption.refresh_from_db()
    if not adoption.error:
        adoptions.withdraw(adoption=adoption, actor=ACTOR)


def _decisions(proposal: Proposal, options: dict[str, Any]) -> list[Decision]:
    """What the file says; else what is suggested, changed by the options. Raises CommandError."""
    if options["decisions"]:
        return _read(options["decisions"])
    for option in ("leave", "pool"):
        for word in options[option]:
            if not any(word in {plan.id, plan.name} for plan in proposal.plans):
                raise CommandError(f"--{option}: there is no usage plan {word} that is not ours.")
    found = []
    for plan, decision in zip(proposal.plans, suggestions(proposal, Tier.objects.values_list("slug", flat=True)), strict=True):
        take = decision.take if plan.keys else Take.LEAVE
        if {plan.id, plan.name}.intersection(options["pool"]):
            take = Take.POOLED
        if {plan.id, plan.name}.intersection(options["leave"]):
            take = Take.LEAVE
        found.append(Decision.read({**decision.as_json(), "take": str(take), "tenant": options["tenant"]}))
    return found


def _read(path: Path) -> list[Decision]:
    try:
        return [Decision.read(each) for each in json.loads(path.read_text(encoding="utf-8"))["plans"]]
    except OSError as error:
        raise CommandError(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, TypeError, KeyError, ArithmeticError) as error:
        raise CommandError(f"{path} holds no decisions: --write-decisions writes a file as it has to be ({error}).") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"--tenants: {path} cannot be read ({error.strerror}).") from error


def _write(path: Path, write: Callable[[TextIO], object]) -> None:
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            write(file)
    except OSError as error:
        raise CommandError(f"{path} cannot be written ({error.strerror}).") from error


def _where(error: Exception) -> str:
    """The option to mend, where the refusal is about one."""
    return "--new-tenants: " if isinstance(error, adoptions.UnfitDecision) and error.field == "new_tenants" else ""
