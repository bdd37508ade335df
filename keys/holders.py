"""Files that say to whom keys belong that somebody else made: read, and written to be filled in. Pure.

A line names a key, by its id or by a name that no other key has, and its tenant, by id or as a new one's name. Keys without a line, or
with an empty tenant, are nobody's in particular: what the decision says of its usage plan holds for them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import gettext as _

from keys.proposals import LONGEST_NAME, Decision, KeySeen, Proposal, Take, tenant_name
from keys.sheets import Problem, UnreadableSheet, Writer, printable, rows

COLUMNS = ("key", "tenant", "name")
REQUIRED = ("key", "tenant")


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """``key``: its id at API Gateway. ``tenant``: the id of one that exists, or a new one's name."""

    number: int
    key: str
    tenant: str


def read(content: bytes, proposal: Proposal) -> list[Line]:
    """The lines that name a tenant. Raises UnreadableSheet with everything that is wrong."""
    ids, named = _keys(proposal)
    lines: list[Line] = []
    problems: list[Problem] = []
    for number, cells in rows(content, COLUMNS, REQUIRED):
        key, tenant = cells["key"].strip(), tenant_name(cells["tenant"])
        found = [key] if key in ids else named.get(key, [])
        if len(found) != 1:
            problems.append(Problem(line=number, text=_key_text(key, found)))
        elif len(tenant) > LONGEST_NAME or not tenant.isprintable():
            problems.append(Problem(line=number, text=_("a tenant's name has at most %d printable characters.") % LONGEST_NAME))
        elif tenant:
            lines.append(Line(number=number, key=found[0], tenant=tenant))
    if problems:
        raise UnreadableSheet(problems)
    return lines


def assign(decisions: Iterable[Decision], proposal: Proposal, lines: Sequence[Line]) -> list[Decision]:
    """The decisions, with the lines' tenants in place of those that they name for the same keys.

    Raises UnreadableSheet where a siloed key is given to two.
    """
    inside = {plan.id: {key.id for key in plan.keys} for plan in proposal.plans}
    problems: list[Problem] = []
    found = []
    for decision in decisions:
        given: dict[str, list[str]] = {}
        for line in lines:
            if line.key not in inside.get(decision.plan, ()):
                continue
            tenants = given.setdefault(line.key, [])
            if tenants and decision.take is Take.SILOED:
                text = _("the key %(key)s has a tenant already, and a siloed key belongs to one.") % {"key": line.key}
                problems.append(Problem(line=line.number, text=text))
            tenants.append(line.tenant)
        found.append(replace(decision, holders={**decision.holders, **given}))
    if problems:
        raise UnreadableSheet(problems)
    return found


def write(file: Any, proposal: Proposal) -> None:
    """A line a key, without tenants: to be filled in."""
    writer = Writer(file, COLUMNS)
    for key in _each_key(proposal):
        writer.write({"key": key.id, "name": key.name})


def text_of(holders: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Keys with their tenants, a line each, as the staff's page takes them."""
    return "\n".join(f"{key}, {tenant}" for key, tenants in holders for tenant in tenants)


def _keys(proposal: Proposal) -> tuple[set[str], dict[str, list[str]]]:
    """The ids of all keys, and the ids by name."""
    ids: set[str] = set()
    named: dict[str, list[str]] = {}
    for key in _each_key(proposal):
        ids.add(key.id)
        named.setdefault(key.name.strip(), []).append(key.id)
    return ids, named


def _each_key(proposal: Proposal) -> Iterator[KeySeen]:
    """Each once, though it is in several usage plans."""
    yield from {key.id: key for plan in proposal.plans for key in plan.keys}.values()


def _key_text(key: str, found: Sequence[str]) -> str:
    if not key:
        return _("name the key, by its id or by its name.")
    if not found:
        return _("no usage plan that was found has a key “%(key)s”, neither as id nor as name.") % {"key": printable(key)}
    text = _("%(count)d keys are named “%(key)s”: give the id of one, as %(id)s.")
    return text % {"count": len(found), "key": printable(key), "id": found[0]}
