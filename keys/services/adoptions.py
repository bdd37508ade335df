"""Adoptions as staff ask for them, decide about them, and withdraw them. What is done is a worker's work: ``keys.sync.adoption``."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from keys import holders
from keys.models import Adoption, AdoptionState, Gateway, Tier
from keys.proposals import Decision, Proposal, UnfitDecision, is_id, suggestions
from keys.services.bell import ring
from keys.sheets import Problem, UnreadableSheet
from keys.takeover import Taken, read_decisions
from keys.tally import Tally, tally
from keys.words import number_of
from tenants.audit import Actor, record
from tenants.models import Tenant

__all__ = ["MOST_UNSAID", "UnableToAdopt", "UnfitDecision", "UnreadableSheet", "ask", "assigned", "confirm", "preview", "withdraw"]

# New tenants that are made without a word about their number.
MOST_UNSAID = 50
# Tenants whose names are looked up by one query.
BATCH = 500


class UnableToAdopt(Exception):
    """What was asked does not fit how far the adoption is; the message says what does."""


def ask(*, gateway: Gateway, actor: Actor) -> Adoption:
    """Ask a worker to look what usage plans and keys of others the gateway holds. Raises UnableToAdopt while an adoption is at work.

    Race: two people ask at once. The second one's row is refused by the database.
    """
    try:
        with transaction.atomic():
            adoption = Adoption.objects.create(gateway=gateway, asked_by=actor.user)
            record(actor=actor, action="adoption.asked", target=adoption, data={"gateway": gateway.name})
            ring(gateway.pk)
    except IntegrityError:
        raise UnableToAdopt(
            _("An adoption is at work on %(gateway)s: decide about it or withdraw it first.") % {"gateway": gateway}
        ) from None
    return adoption


def assigned(*, proposal: Proposal, decisions: Sequence[Decision], content: bytes) -> list[Decision]:
    """The decisions, with the tenants that a file names for keys (``keys.holders``). Raises UnreadableSheet with all that is wrong.

    The name of a tenant that exists is refused, with its id: anybody can sign up under any name, so a name must not lead to it, and a
    second tenant of that name is seldom meant.
    """
    lines = holders.read(content, proposal)
    problems = [*_unknown_ids(lines), *_taken_names(lines)]
    if problems:
        raise UnreadableSheet(sorted(problems, key=lambda problem: problem.line))
    return holders.assign(decisions, proposal, lines)


def preview(*, gateway: Gateway, proposal: Proposal, decisions: Sequence[Decision]) -> Tally:
    """What ``confirm`` would let a worker make. Raises UnfitDecision, which names the field."""
    return _tally_of(read_decisions(gateway, proposal, _completed(proposal, decisions)))


def confirm(*, adoption: Adoption, decisions: Sequence[Decision], new_tenants: int | None = None, actor: Actor) -> Adoption:
    """Say yes: a worker takes over what was decided. ``new_tenants``: how many of them it makes, said where they are above MOST_UNSAID.

    Raises UnfitDecision, which names the field; UnableToAdopt when it is not the time.

    Race: two people decide at once, or one withdraws. The row is locked; the second one finds it decided.
    """
    with transaction.atomic():
        adoption = _locked(adoption)
        if adoption.state is not AdoptionState.PROPOSED:
            raise UnableToAdopt(_wrong_time(adoption))
        proposal = Proposal.read(adoption.proposal)
        decisions = _completed(proposal, decisions)
        taken = read_decisions(adoption.gateway, proposal, decisions)
        made = _tally_of(taken)
        _check_said(made, new_tenants)
        by = {"user": str(actor.user.pk) if actor.user else None, "label": actor.label, "request_id": actor.request_id}
        adoption.decisions = {"plans": [decision.as_json() for decision in decisions], "by": by}
        adoption.confirmed_at = timezone.now()
        adoption.save(update_fields=["decisions", "confirmed_at"])
        plans = [
            {"id": each.plan.id, "name": each.plan.name, "take": str(each.decision.take), "tier": each.decision.tier} for each in taken
        ]
        data = {"gateway": adoption.gateway.name, "plans": plans, "keys": made.keys, "tenants": made.new_tenants}
        record(actor=actor, action="adoption.confirmed", target=adoption, data=data)
        ring(adoption.gateway_id)
    return adoption


def withdraw(*, adoption: Adoption, actor: Actor) -> Adoption:
    """Let it be: nothing is taken over. Nothing happens to one that was withdrawn. Raises UnableToAdopt when it is over already."""
    with transaction.atomic():
        adoption = _locked(adoption)
        if adoption.state in {AdoptionState.APPLIED, AdoptionState.FAILED}:
            raise UnableToAdopt(_wrong_time(adoption))
        if adoption.withdrawn_at is None:
            adoption.withdrawn_at = timezone.now()
            adoption.save(update_fields=["withdrawn_at"])
            record(actor=actor, action="adoption.withdrawn", target=adoption, data={"gateway": adoption.gateway.name})
    return adoption


def _tally_of(taken: Sequence[Taken]) -> Tally:
    return tally([(each.plan, each.decision) for each in taken], {each.tier.slug for each in taken if each.tier is not None})


def _check_said(made: Tally, new_tenants: int | None) -> None:
    """Raises UnfitDecision: nobody makes many tenants by leaving a field empty."""
    if new_tenants is None and made.new_tenants <= MOST_UNSAID:
        return
    if new_tenants != made.new_tenants:
        text = _("This makes %(count)s new tenants. Write %(number)d to say so, or name a tenant for the keys.")
        raise UnfitDecision("new_tenants", text % {"count": number_of(made.new_tenants), "number": made.new_tenants})


def _unknown_ids(lines: Sequence[holders.Line]) -> Iterator[Problem]:
    wanted = sorted({line.tenant.lower() for line in lines if is_id(line.tenant)})
    there: dict[str, bool] = {}
    for start in range(0, len(wanted), BATCH):
        rows = Tenant.objects.filter(pk__in=wanted[start : start + BATCH]).values_list("pk", "suspended_at")
        there |= {str(pk): suspended_at is not None for pk, suspended_at in rows}
    for line in lines:
        if is_id(line.tenant) and there.get(line.tenant.lower(), True):
            known = line.tenant.lower() in there
            text = _("the tenant with the id %(id)s is suspended.") if known else _("there is no tenant with the id %(id)s.")
            yield Problem(line=line.number, text=text % {"id": line.tenant})


def _taken_names(lines: Sequence[holders.Line]) -> Iterator[Problem]:
    names = sorted({line.tenant for line in lines if not is_id(line.tenant)})
    there: dict[str, str] = {}
    for start in range(0, len(names), BATCH):
        there |= {name: str(pk) for pk, name in Tenant.objects.filter(name__in=names[start : start + BATCH]).values_list("pk", "name")}
    for line in lines:
        if line.tenant in there:
            text = _("a tenant named “%(name)s” exists. Write its id, %(id)s, if it is meant; else another name.")
            yield Problem(line=line.number, text=text % {"name": line.tenant, "id": there[line.tenant]})


def _completed(proposal: Proposal, decisions: Sequence[Decision]) -> list[Decision]:
    """The decisions, with what is suggested where they name no tier."""
    suggested = {each.plan: each for each in suggestions(proposal, Tier.objects.values_list("slug", flat=True))}
    return [
        replace(each, tier=suggested[each.plan].tier, name=each.name or suggested[each.plan].name)
        if not each.tier and each.plan in suggested
        else each
        for each in decisions
    ]


def _locked(adoption: Adoption) -> Adoption:
    return Adoption.objects.select_related("gateway").select_for_update(of=("self",), no_key=True).get(pk=adoption.pk)


def _wrong_time(adoption: Adoption) -> str:
    return {
        AdoptionState.LOOKING: _("A worker has not looked yet what is there: wait until it has."),
        AdoptionState.CONFIRMED: _("It was decided about already; a worker takes over what was decided."),
        AdoptionState.APPLIED: _("It is done: what was decided was taken over."),
        AdoptionState.WITHDRAWN: _("It was withdrawn. Ask for another one."),
        AdoptionState.FAILED: _("It failed, and nothing was taken over. Ask for another one."),
    }[adoption.state]
