"""What an adoption's pages show of usage plans: those that were found, and what became of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from keys import takeover
from keys.admin import cells
from keys.admin.tables import Table, columns
from keys.proposals import PlanSeen
from keys.staff_selectors import ProposedPlan
from keys.tally import Tally, tally
from keys.words import number_of

KEYS_SHOWN = 10
MOST_LEFT_SHOWN = 100
MOST_OTHERS_SHOWN = 50

KEYS = columns(gettext_lazy("Key"), gettext_lazy("Key id"), gettext_lazy("State"), gettext_lazy("Left alone"))
TAKEN = columns(gettext_lazy("Usage plan"), gettext_lazy("Tier"), numeric=[gettext_lazy("Keys")])
LEFT = columns(gettext_lazy("Key"), gettext_lazy("Key id"), gettext_lazy("Why"))
OTHERS = columns(gettext_lazy("Usage plan"), gettext_lazy("Limits"), gettext_lazy("In the way"), numeric=[gettext_lazy("Keys")])


def panel(proposed: ProposedPlan) -> dict[str, Any]:
    """One usage plan, with its first keys, for ``admin/keys/adoption/_plan.html``."""
    plan, suggestion = proposed.plan, proposed.suggestion
    more = len(proposed.keys) - KEYS_SHOWN
    alone = tally([(plan, suggestion)], ())
    rows = [
        [key.name or cells.DASH, _id(key.id), _enabled(enabled=key.enabled), why or cells.DASH] for key, why in proposed.keys[:KEYS_SHOWN]
    ]
    return {
        "title": title_of(plan),
        "facts": [
            (_("Limits"), takeover.limits_text(plan, suggestion)),
            (_("Stages"), ", ".join(plan.stages) or _("none")),
            (_("Keys"), _keys(alone)),
            (_("New tenants, if siloed and none is named"), number_of(alone.new_tenants)),
            (_("Plan id"), _id(plan.id)),
        ],
        "obstacles": proposed.obstacles,
        "keys": Table(columns=KEYS, rows=rows),
        "more": ngettext("and %(count)s more key", "and %(count)s more keys", more) % {"count": number_of(more)} if more > 0 else "",
    }


def title_of(plan: PlanSeen) -> str:
    """Its name, or its id while it has none."""
    return plan.name or plan.id


def others_table(plans: Sequence[ProposedPlan]) -> Table | None:
    """Usage plans in a line each, for where there are too many of them, and the first MOST_OTHERS_SHOWN alone; None without any."""
    rows = [
        [
            title_of(each.plan),
            takeover.limits_text(each.plan, each.suggestion),
            " ".join(each.obstacles) or cells.DASH,
            number_of(len(each.keys)),
        ]
        for each in plans[:MOST_OTHERS_SHOWN]
    ]
    title = ngettext("%(count)s more usage plan", "%(count)s more usage plans", len(plans)) % {"count": number_of(len(plans))}
    if len(plans) > len(rows):
        title = _("%(plans)s, the first %(shown)d") % {"plans": title, "shown": len(rows)}
    return Table(title=title, columns=OTHERS, rows=rows) if rows else None


def outcome(report: Mapping[str, Any]) -> dict[str, Any]:
    """What was taken over and what was left of it, once it was done."""
    if not report:
        return {}
    taken = [[plan["name"] or plan["id"], plan["tier"], number_of(plan["keys"])] for plan in report["plans"]]
    left = [[key["name"] or cells.DASH, _id(key["id"]), key["why"]] for key in report["left"]]
    made = ngettext("%(count)s tenant was made.", "%(count)s tenants were made.", report["tenants"])
    more = len(left) - MOST_LEFT_SHOWN
    rest = ngettext("and %(count)s more key", "and %(count)s more keys", more) % {"count": number_of(more)} if more > 0 else ""
    closed = _("New tiers are closed to buyers: give them a price and words, then reopen them.")
    return {
        "taken": Table(title=_("What was taken over"), columns=TAKEN, rows=taken),
        "made": f"{made % {'count': number_of(report['tenants'])}} {closed}",
        "left": Table(title=_("What was left"), columns=LEFT, rows=left[:MOST_LEFT_SHOWN]) if left else None,
        "more_left": rest,
    }


def _keys(alone: Tally) -> str:
    if not alone.left:
        return number_of(alone.keys)
    left = ngettext("%(count)s more is left", "%(count)s more are left", alone.left) % {"count": number_of(alone.left)}
    return f"{number_of(alone.keys)} ({left})"


def _id(text: str) -> str:
    return format_html('<code class="mono">{}</code>', text)


def _enabled(*, enabled: bool) -> str:
    return cells.status("good", _("Enabled")) if enabled else cells.status("off", _("Disabled"))
