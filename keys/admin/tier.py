"""Tiers: what is sold, and whether it is provisioned so."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from keys import selectors, words
from keys.admin import cells
from keys.admin.base import IntentAdmin
from keys.admin.plans import state_of, summary
from keys.admin.tier_form import TierForm
from keys.admin.tier_plan import PlanAdmin
from keys.admin.verbs import Inputs, Verb, VerbAdmin
from keys.models import GatewayKey, KeyRole, Tier
from keys.moving import MOVE_GRACE
from keys.queues import about_text
from keys.sales import Sales, sales_of, tiers_with_facts
from keys.services import catalog, pools
from keys.services.catalog import LIMITS, OFFER
from keys.staff_selectors import pending_plans, plans_to_compare
from tenants.audit import Actor

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    from keys.sales import TierFacts

POOL_KEYS_SHOWN = 100


class PreviewNeeded(Exception):
    """The change reaches API Gateway or moves tenants, and nobody has confirmed it yet. Raised to roll back; shown as a page."""

    def __init__(self, tier: Tier, changed: set[str], size: int | None) -> None:
        super().__init__()
        self.tier, self.changed, self.size = tier, changed, size


class OnSaleFilter(admin.SimpleListFilter):
    """Open or closed to buyers."""

    title = gettext_lazy("sale")
    parameter_name = "sale"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", _("Open to buyers")), ("retired", _("Retired"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Tier]) -> QuerySet[Tier]:
        return {"open": queryset.filter(retired_at=None), "retired": queryset.filter(retired_at__isnull=False)}.get(
            self.value() or "", queryset
        )


def _retire(tier: Tier, _inputs: Inputs, actor: Actor) -> str:
    catalog.retire_tier(tier=tier, actor=actor)
    return _("The %(tier)s tier is closed to buyers.") % {"tier": tier}


def _retire_effect(tier: Tier) -> list[str]:
    sold = tier.api_keys.live().count()
    spares = GatewayKey.objects.live().filter(usage_plan__tier=tier, role=KeyRole.SPARE).count()
    effect = [_("Nobody can buy the %(tier)s tier any more, and it leaves the price page.") % {"tier": tier}]
    effect.append(_("API keys of it that were sold go on working: %(sold)s.") % {"sold": words.keys_text(sold)})
    if spares:
        effect.append(_("Its spares are deleted at API Gateway: %(spares)s.") % {"spares": words.keys_text(spares)})
    return [*effect, _("You can reopen the tier at any time.")]


def _reopen(tier: Tier, _inputs: Inputs, actor: Actor) -> str:
    catalog.reopen_tier(tier=tier, actor=actor)
    return _("The %(tier)s tier is for sale again.") % {"tier": tier}


def _reopen_effect(tier: Tier) -> list[str]:
    effect = [
        _("The %(tier)s tier is for sale again at %(price)s: %(limits)s.")
        % {"tier": tier, "price": words.price_text(tier), "limits": words.limits_text(tier)}
    ]
    if tier.spare_target:
        effect.append(_("Spares are made again on each of its gateways: %(count)s.") % {"count": words.keys_text(tier.spare_target)})
    return effect


def _rebalance(tier: Tier, _inputs: Inputs, actor: Actor) -> str:
    moved = pools.rebalance_pool(tier=tier, actor=actor)
    return ngettext(
        "%(count)s API key was moved; its tenant finds the new credential on its page.",
        "%(count)s API keys were moved; their tenants find the new credential on their pages.",
        moved,
    ) % {"count": words.number_of(moved)}


def _rebalance_effect(tier: Tier) -> list[str]:
    if not tier.is_pooled:
        return [_("The %(tier)s tier has no pool.") % {"tier": tier}]
    preview = pools.preview_rebalance(tier)
    if not preview.moved:
        return [_("The pool is level already: nobody moves.")]
    loads = _("A gateway key carries %(low)s to %(high)s API keys now, and %(then_low)s to %(then_high)s then.") % {
        "low": words.number_of(preview.emptiest_before),
        "high": words.number_of(preview.fullest_before),
        "then_low": words.number_of(preview.emptiest),
        "then_high": words.number_of(preview.fullest),
    }
    effect = [loads, *_move_effect(preview)]
    if preview.fullest - preview.emptiest > 1:
        effect.append(_("That is as many as move at one time; do it again until the pool is level."))
    return effect


def _move_effect(preview: pools.Preview) -> list[str]:
    """What moving means, in sentences."""
    if not preview.moved:
        return []
    moved = ngettext(
        "%(count)s API key moves to another gateway key and gets a new credential.",
        "%(count)s API keys move to another gateway key and get a new credential.",
        preview.moved,
    ) % {"count": words.number_of(preview.moved)}
    kept = _("The old credential works for %(days)d more days.") % {"days": MOVE_GRACE.days}
    url = ngettext(
        "%(count)s of them gets another URL too, because its new gateway key is on another gateway.",
        "%(count)s of them get another URL too, because their new gateway keys are on another gateway.",
        preview.new_url,
    ) % {"count": words.number_of(preview.new_url)}
    return [moved, kept, *([url] if preview.new_url else []), words.who_is_told()]


REBALANCE: Verb[Tier] = Verb(
    slug="rebalance",
    word=gettext_lazy("Level this pool"),
    act=_rebalance,
    effect=_rebalance_effect,
    offered=lambda tier: tier.is_pooled and pools.preview_rebalance(tier).moved > 0,
)
RETIRE: Verb[Tier] = Verb(
    slug="retire",
    word=gettext_lazy("Retire this tier"),
    act=_retire,
    effect=_retire_effect,
    offered=lambda tier: tier.retired_at is None,
)
REOPEN: Verb[Tier] = Verb(
    slug="reopen",
    word=gettext_lazy("Reopen this tier"),
    act=_reopen,
    effect=_reopen_effect,
    offered=lambda tier: tier.retired_at is not None,
    tone="",
)


@admin.register(Tier)
class TierAdmin(PlanAdmin, VerbAdmin[Tier], IntentAdmin[Tier]):
    """The catalogue. A change of limits is shown gateway by gateway before it is made."""

    form = TierForm
    verbs = [REBALANCE, RETIRE, REOPEN]
    refusals = (catalog.UnableToChangeTier, pools.UnableToChangePool)
    list_display = [
        "name",
        "shown_isolation",
        "shown_price",
        "limits",
        "sold_count",
        "load_range",
        "blast_radius_count",
        "provisioned",
        "sale",
    ]
    list_filter = ["isolation", OnSaleFilter]
    search_fields = ["name", "slug"]
    ordering = ["position", "name"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tier]:
        return tiers_with_facts(super().get_queryset(request)).prefetch_related(Prefetch("usage_plans", plans_to_compare()))

    # --- Columns

    @admin.display(description=gettext_lazy("isolation"), ordering="isolation")
    def shown_isolation(self, tier: Tier) -> str:
        return cells.isolation_word(tier)

    @admin.display(description=gettext_lazy("price"), ordering="price_minor")
    def shown_price(self, tier: Tier) -> SafeString:
        return cells.right(words.price_text(tier))

    @admin.display(description=gettext_lazy("limits"))
    def limits(self, tier: Tier) -> str:
        return words.limits_text(tier)

    @admin.display(description=gettext_lazy("API keys sold"), ordering="counted")
    def sold_count(self, tier: "WithAnnotations[Tier, TierFacts]") -> SafeString:
        sales = _sales(tier)
        return cells.right(words.number_of(sales.sold) if sales.exact else _about(sales.sold))

    @admin.display(description=gettext_lazy("load a pool key"))
    def load_range(self, tier: "WithAnnotations[Tier, TierFacts]") -> SafeString:
        sales = _sales(tier)
        low, high = sales.load_min, sales.load_max
        if low is None or high is None:
            return cells.right(cells.DASH)
        return cells.right(words.number_of(low) if low == high else f"{words.number_of(low)} - {words.number_of(high)}")

    @admin.display(description=gettext_lazy("blast radius"))
    def blast_radius_count(self, tier: "WithAnnotations[Tier, TierFacts]") -> SafeString:
        share = _sales(tier).largest_share
        return cells.right(cells.DASH if share is None else cells.percent(share))

    @admin.display(description=gettext_lazy("provisioned"))
    def provisioned(self, tier: Tier) -> SafeString:
        now = timezone.now()
        return cells.status(*summary(state_of(plan, now) for plan in tier.usage_plans.all()))

    @admin.display(description=gettext_lazy("sale"), ordering="retired_at")
    def sale(self, tier: Tier) -> SafeString:
        return cells.status("off", _("Retired")) if tier.retired_at else cells.status("good", _("Open"))

    # --- The form

    def get_fieldsets(self, request: HttpRequest, obj: Tier | None = None) -> Any:
        kind = ["isolation", "pool_size", "spare_target"] if obj is None else ["isolation", _keys_field(obj)]
        return [
            (_("Offer"), {"fields": ["name", "slug", "description", "position", "price_minor", "currency", "max_api_keys"]}),
            (_("Limits"), {"fields": list(LIMITS), "description": _limits_help(obj)}),
            (_("Isolation"), {"fields": kind, "description": _isolation_help(obj)}),
            (_("Where"), {"fields": ["stages"]}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Tier | None = None) -> list[str]:
        return [] if obj is None else ["slug", "isolation"]

    def save_model(self, request: HttpRequest, obj: Tier, form: Any, change: Any) -> None:
        data, actor = form.cleaned_data, Actor.of(request)
        if not change:
            obj.pk = catalog.create_tier(**data, actor=actor).pk
            return
        changed = set(form.changed_data)
        if _needs_preview(obj, changed, data.get("pool_size")) and "_confirm" not in request.POST:
            raise PreviewNeeded(obj, changed, data.get("pool_size"))
        # One transaction: what shrinks locks gateways before the rest locks usage plans, and a pool is held before its tier's row. A
        # pool that grows does so on the stages that are chosen with it.
        shrinks = "pool_size" in changed and data["pool_size"] < obj.pool.size
        if shrinks:
            pools.resize_pool(tier=obj, size=data["pool_size"], actor=actor)
        if "stages" in changed:
            catalog.serve_stages(tier=obj, stages=data["stages"], actor=actor)
        if "pool_size" in changed and not shrinks:
            pools.resize_pool(tier=obj, size=data["pool_size"], actor=actor)
        if changed.intersection(OFFER):
            catalog.change_offer(tier=obj, **{field: getattr(obj, field) for field in OFFER}, actor=actor)
        if changed.intersection(LIMITS):
            catalog.change_limits(tier=obj, **{field: data[field] for field in LIMITS}, actor=actor)

    def changed_text(self, row: Tier) -> str:
        pending = pending_plans().filter(tier=row).count()
        saved = _("The %(tier)s tier was changed.") % {"tier": row}
        return f"{saved} {_on_the_way(pending, row)}" if pending else saved

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except PreviewNeeded as preview:
            return self._preview(request, preview)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> HttpResponse:
        tier = kwargs.get("obj")
        if tier is not None:
            now = timezone.now()
            context["plan_states"] = [state_of(plan, now) for plan in plans_to_compare().filter(tier=tier.pk)]
            context["now"] = now
            context.update(_loads(tier))
        return super().render_change_form(request, context, *args, **kwargs)

    def _preview(self, request: HttpRequest, preview: PreviewNeeded) -> HttpResponse:
        stored = Tier.objects.get(pk=preview.tier.pk)
        limits = bool(preview.changed.intersection(LIMITS))
        others = preview.changed.difference(LIMITS, {"pool_size"})
        context = self.page(
            request,
            stored,
            title=_("Confirm the change"),
            before=words.limits_text(stored) if limits else "",
            after=words.limits_text(preview.tier),
            gateways=selectors.preview_limits(stored, timezone.now()) if limits else [],
            resize=_resize_effect(stored, preview.size) if preview.size and "pool_size" in preview.changed else [],
            others=sorted(str(TierForm.base_fields[field].label) for field in others),
            inputs=[
                (name, value) for name, values in request.POST.lists() if name not in {"csrfmiddlewaretoken", "_save"} for value in values
            ],
        )
        return TemplateResponse(request, "admin/keys/tier/preview.html", context)


def _sales(tier: "WithAnnotations[Tier, TierFacts]") -> Sales:
    """Once a row, though several columns ask."""
    found: Sales | None = tier.__dict__.get("sales")
    if found is None:
        found = tier.__dict__["sales"] = sales_of(tier)
    return found


def _about(estimate: int) -> str:
    """To two digits that say something."""
    return _("about %(count)s") % {"count": words.number_of(round(estimate, 2 - len(str(estimate))))}


def _keys_field(tier: Tier) -> str:
    return "pool_size" if tier.is_pooled else "spare_target"


def _needs_preview(tier: Tier, changed: Iterable[str], size: int | None) -> bool:
    changed = set(changed)
    shrinks = "pool_size" in changed and size is not None and size < tier.pool.size
    return shrinks or bool(changed.intersection(LIMITS))


def _resize_effect(tier: Tier, size: int) -> list[str]:
    preview = pools.preview_resize(tier, size)
    sizes = _("The pool has %(before)s gateway keys now, and %(after)s then.") % {
        "before": words.number_of(tier.pool.size),
        "after": words.number_of(size),
    }
    return [sizes, *_move_effect(preview)]


def _limits_help(tier: Tier | None) -> str:
    if tier is None:
        return _("Saving makes one usage plan with these limits on each gateway of the chosen stages.")
    previews = selectors.preview_limits(tier, timezone.now())
    return ngettext(
        "Saving changes the usage plan on %(count)s gateway; takes %(time)s. You see it all before it is done.",
        "Saving changes the usage plans on %(count)s gateways; takes %(time)s. You see it all before it is done.",
        len(previews),
    ) % {"count": words.number_of(len(previews)), "time": _how_long(previews)}


def _how_long(previews: Iterable[selectors.PlanPreview]) -> str:
    return about_text(sum(preview.seconds for preview in previews))


def _isolation_help(tier: Tier | None) -> str:
    if tier is None:
        return _("Chosen for good: a tier stays siloed or pooled. Tenants are never told which.")
    if tier.is_pooled:
        return _(
            "A larger pool makes keys at API Gateway and moves nobody. A smaller one moves the tenants of the leaving keys; "
            "their old credential works for %(days)d more days."
        ) % {"days": MOVE_GRACE.days}
    return _("More spares are made at API Gateway at once, on each gateway. Fewer: those there are get used up by purchases.")


def _on_the_way(count: int, tier: Tier) -> str:
    return ngettext(
        "Its usage plan on %(count)s gateway is being changed; takes %(time)s.",
        "Its usage plans on %(count)s gateways are being changed; takes %(time)s.",
        count,
    ) % {"count": words.number_of(count), "time": _how_long(selectors.preview_limits(tier, timezone.now()))}


def _loads(tier: Tier) -> dict[str, Any]:
    """The pool's keys with their loads, the fullest first, and the tier's blast radius."""
    sold = tier.api_keys.live().count()
    if not tier.is_pooled:
        return {"sold": sold, "blast_radius": cells.percent(1 / sold) if sold else cells.DASH}
    loads = selectors.pool_loads(tier)
    total = sum(load for _key, load in loads)
    fullest = max((load for _key, load in loads), default=0)
    shown = sorted(loads, key=lambda pair: (-pair[1], pair[0].position))[:POOL_KEYS_SHOWN]
    histogram = Counter(load for _key, load in loads)
    most = max(histogram.values(), default=0)
    return {
        "sold": sold,
        "pool": tier.pool,
        "free_slots": tier.pool.free_slots.count(),
        "histogram": [{"load": load, "keys": keys, "share": round(keys * 100 / most)} for load, keys in sorted(histogram.items())],
        "loads": [{"key": key, "load": load, "share": round(load * 100 / fullest) if fullest else 0} for key, load in shown],
        "loads_left_out": len(loads) - len(shown),
        "blast_radius": cells.percent(fullest / total) if total else cells.DASH,
    }
