"""How much an adoption makes: counted, and said, before anybody says yes to it. Pure."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from keys.proposals import Decision, PlanSeen, holders_of, is_id, keys_taken, tenant_name, wants_holder
from keys.words import number_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """What decisions make of what was seen. Keys that are changed or deleted meanwhile are left, so it may become less, never more.

    ``keys``: gateway keys that are taken over. ``left``: those of the same usage plans that are not. ``new_tiers``, ``new_tenants``:
    rows that are made. ``nameless``: keys for which nobody named a tenant; ``named_after_keys``: the new tenants that bear their names,
    fewer where keys have one name. ``tenants``: those that exist already and get keys.
    """

    keys: int = 0
    left: int = 0
    new_tiers: int = 0
    new_tenants: int = 0
    nameless: int = 0
    named_after_keys: int = 0
    tenants: int = 0

    @property
    def sentences(self) -> list[str]:
        """In words, for people."""
        return list(_sentences(self))


def tally(chosen: Sequence[tuple[PlanSeen, Decision]], slugs: Collection[str]) -> Tally:
    """Of usage plans that are taken over, each with its decision. ``slugs``: of the tiers that exist."""
    keys = left = nameless = 0
    there: set[str] = set()
    new: set[str] = set()
    after_keys: set[str] = set()
    for plan, decision in chosen:
        taken = keys_taken(plan, decision.take)
        keys += len(taken)
        left += len(plan.keys) - len(taken)
        for key in taken:
            words = holders_of(key, decision)
            there.update(word.lower() for word in words if is_id(word))
            named = {tenant_name(word) for word in words if not is_id(word)}
            new |= named
            if wants_holder(key, decision):
                nameless += 1
                after_keys |= named
    return Tally(
        keys=keys,
        left=left,
        new_tiers=sum(decision.tier not in slugs for _plan, decision in chosen),
        new_tenants=len(new),
        nameless=nameless,
        named_after_keys=len(after_keys),
        tenants=len(there),
    )


def _sentences(made: Tally) -> Iterator[str]:
    yield _counted(ngettext("%(count)s key is taken over.", "%(count)s keys are taken over.", made.keys), made.keys)
    if made.left:
        yield _counted(ngettext("%(count)s key is left as it is.", "%(count)s keys are left as they are.", made.left), made.left)
    if made.new_tiers:
        text = ngettext("%(count)s new tier, closed to buyers at first.", "%(count)s new tiers, closed to buyers at first.", made.new_tiers)
        yield _counted(text, made.new_tiers)
    else:
        yield _("No new tier.")
    yield _tenants_text(made)
    if made.tenants:
        text = ngettext("%(count)s tenant that exists gets keys.", "%(count)s tenants that exist get keys.", made.tenants)
        yield _counted(text, made.tenants)


def _tenants_text(made: Tally) -> str:
    if not made.new_tenants:
        return _("No new tenant.")
    text = _counted(ngettext("%(count)s new tenant", "%(count)s new tenants", made.new_tenants), made.new_tenants)
    if not made.nameless:
        return f"{text}."
    if made.new_tenants == made.named_after_keys == made.nameless:
        return _("%(tenants)s, one a key.") % {"tenants": text}
    nameless = _counted(ngettext("%(count)s key", "%(count)s keys", made.nameless), made.nameless)
    after = number_of(made.named_after_keys)
    if made.named_after_keys < made.nameless:
        words = _("%(tenants)s, %(after)s of them named after %(keys)s that you named no tenant for; keys of one name share a tenant.")
    else:
        words = _("%(tenants)s, %(after)s of them named after %(keys)s that you named no tenant for.")
    return words % {"tenants": text, "after": after, "keys": nameless}


def _counted(text: str, count: int) -> str:
    return text % {"count": number_of(count)}
