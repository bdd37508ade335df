"""Tiers: what is sold, and whether it is provisioned so."""

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
from keys.admin.verbs import Inputs, Verb, VerbAdmin
from keys.models import GatewayKey, KeyRole, Tier
from keys.services import catalog, pools
from keys.services.catalog import LIMITS, OFFER
from keys.staff_selectors import largest_share, pending_plans, plans_to_compare, tiers_with_facts
from tenants.audit import Actor

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    from keys.staff_selectors import TierFacts

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
class TierAdmin(VerbAdmin[Tier], IntentAdmin[Tier]):
    """The catalogue. A change of limits is shown gateway by gateway before it is made."""

    form = TierForm
    verbs = [RETIRE, REOPEN]
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

    @admin.display(description=gettext_lazy("API keys sold"), ordering="sold")
    def sold_count(self, tier: "WithAnnotations[Tier, TierFacts]") -> SafeString:
        return cells.number(tier.sold)

    @admin.display(description=gettext_lazy("load a pool key"))
    def load_range(self, tier: "WithAnnotations[Tier, TierFacts]") -> SafeString:
        low, high = tier.load_min, tier.load_max
        if low is None or high is None:
            return cells.right(cells.DASH)
        return cells.right(words.number_of(low) if low == high else f"{words.number_of(low)} - {words.number_of(high)}")

    @admin.display(description=gettext_lazy("blast radius"))
    def blast_radius_count(self, tier: "WithAnnotations[Tier, TierFacts]") -> SafeString:
        share = largest_share(tier)
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
        if changed.intersection(OFFER):
            catalog.change_offer(tier=obj, **{field: getattr(obj, field) for field in OFFER}, actor=actor)
        if "stages" in changed:
            catalog.serve_stages(tier=obj, stages=data["stages"], actor=actor)
        if "pool_size" in changed:
            pools.resize_pool(tier=obj, size=data["pool_size"], actor=actor)
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
            moved=_moved(stored, preview.size) if "pool_size" in preview.changed else None,
            days=pools.MOVE_GRACE.days,
            others=sorted(str(TierForm.base_fields[field].label) for field in others),
            inputs=[
                (name, value) for name, values in request.POST.lists() if name not in {"csrfmiddlewaretoken", "_save"} for value in values
            ],
        )
        return TemplateResponse(request, "admin/keys/tier/preview.html", context)


def _keys_field(tier: Tier) -> str:
    return "pool_size" if tier.is_pooled else "spare_target"


def _needs_preview(tier: Tier, changed: Iterable[str], size: int | None) -> bool:
    changed = set(changed)
    shrinks = "pool_size" in changed and size is not None and size < tier.pool.size
    return shrinks or bool(changed.intersection(LIMITS))


def _moved(tier: Tier, size: int | None) -> int:
    """API keys that a pool of ``size`` keys would move to another key."""
    return sum(load for key, load in selectors.pool_loads(tier) if size is not None and (key.position or 0) >= size)


def _limits_help(tier: Tier | None) -> str:
    if tier is None:
        return _("Saving makes one usage plan with these limits on each gateway of the chosen stages.")
    previews = selectors.preview_limits(tier, timezone.now())
    return ngettext(
        "Saving changes the usage plan on %(count)d gateway; takes about %(seconds)d s. You see it all before it is done.",
        "Saving changes the usage plan on %(count)d gateways; takes about %(seconds)d s. You see it all before it is done.",
        len(previews),
    ) % {"count": len(previews), "seconds": sum(preview.seconds for preview in previews)}


def _isolation_help(tier: Tier | None) -> str:
    if tier is None:
        return _("Chosen for good: a tier stays siloed or pooled. Tenants are never told which.")
    if tier.is_pooled:
        return _(
            "A larger pool makes keys at API Gateway and moves nobody. A smaller one moves the tenants of the leaving keys; "
            "their old credential works for %(days)d more days."
        ) % {"days": pools.MOVE_GRACE.days}
    return _("More spares are made at API Gateway at once, on each gateway. Fewer: those there are get used up by purchases.")


def _on_the_way(count: int, tier: Tier) -> str:
    seconds = sum(preview.seconds for preview in selectors.preview_limits(tier, timezone.now()))
    return ngettext(
        "Its usage plan on %(count)d gateway is being changed; takes about %(seconds)d s.",
        "Its usage plans on %(count)d gateways are being changed; takes about %(seconds)d s.",
        count,
    ) % {"count": count, "seconds": seconds}


def _loads(tier: Tier) -> dict[str, Any]:
    """The pool's keys with their loads, the fullest first, and the tier's blast radius."""
    sold = tier.api_keys.live().count()
    if not tier.is_pooled:
        return {"sold": sold, "blast_radius": cells.percent(1 / sold) if sold else cells.DASH}
    loads = selectors.pool_loads(tier)
    total = sum(load for _key, load in loads)
    fullest = max((load for _key, load in loads), default=0)
    shown = sorted(loads, key=lambda pair: (-pair[1], pair[0].position))[:POOL_KEYS_SHOWN]
    return {
        "sold": sold,
        "loads": [{"key": key, "load": load, "share": round(load * 100 / fullest) if fullest else 0} for key, load in shown],
        "loads_left_out": len(loads) - len(shown),
        "blast_radius": cells.percent(fullest / total) if total else cells.DASH,
    }
