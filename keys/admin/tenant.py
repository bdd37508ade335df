"""Tenants, with what staff may do with their keys.

The page of ``tenants.admin`` with two verbs more. It is registered here in its stead, because ``tenants`` knows nothing of keys, and a
second page (of a proxy model) would have its own permissions and leave staff with two tenants to choose from.
"""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from keys import selectors, words
from keys.admin import cells
from keys.admin.verbs import Inputs, Verb, VerbAdmin
from keys.services import tenants
from tenants.admin import TenantAdmin
from tenants.audit import Actor
from tenants.models import Tenant

# What API Gateway lets an account and Region change; see docs/architecture.md, "One writer a gateway".
CALLS_A_SECOND = 10
WORTH_TELLING = timedelta(minutes=1)


class ReasonForm(forms.Form):
    """Why a tenant is suspended."""

    reason = forms.CharField(
        label=gettext_lazy("Reason, for staff alone"),
        max_length=tenants.LONGEST_REASON,
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": gettext_lazy("Give a reason: whoever resumes the tenant will want to know it.")},
    )


class SuspendedFilter(admin.SimpleListFilter):
    """Suspended or not."""

    title = gettext_lazy("standing")
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("suspended", _("Suspended")), ("active", _("Active"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> QuerySet[Tenant]:
        if self.value() in {"suspended", "active"}:
            return queryset.filter(suspended_at__isnull=self.value() == "active")
        return queryset


def _suspend(tenant: Tenant, inputs: Inputs, actor: Actor) -> str:
    tenants.suspend(tenant=tenant, reason=inputs["reason"], actor=actor)
    return _("%(tenant)s was suspended.") % {"tenant": tenant}


def _resume(tenant: Tenant, _inputs: Inputs, actor: Actor) -> str:
    tenants.resume(tenant=tenant, actor=actor)
    return _("%(tenant)s was resumed.") % {"tenant": tenant}


def _suspend_effect(tenant: Tenant) -> list[str]:
    own, shared = selectors.own_and_shared(tenant)
    effect = [
        _("%(tenant)s can no longer buy, rotate, enable, disable or read keys. Its people can still look, rename and revoke.")
        % {"tenant": tenant},
        _("Every page of theirs says that they are suspended and that they should talk to support. It does not show the reason."),
    ]
    if own:
        effect.append(
            ngettext(
                "%(count)s API key on a siloed tier is cut off: API Gateway refuses it within seconds up to minutes.",
                "%(count)s API keys on siloed tiers are cut off: API Gateway refuses them within seconds up to minutes.",
                own,
            )
            % {"count": words.number_of(own)}
        )
        longest = timedelta(seconds=own / CALLS_A_SECOND)
        if longest >= WORTH_TELLING:
            effect.append(
                _("API Gateway lets them be turned off one by one: about %(wait)s for all of them if they are on one gateway.")
                % {"wait": words.duration_text(longest)}
            )
    else:
        effect.append(_("It has no API key on a siloed tier, so API Gateway is told nothing."))
    if shared:
        effect.append(
            ngettext(
                "%(count)s API key on a pooled tier is not cut off: it shares its credential with other tenants, so API Gateway goes on "
                "answering it. To end it, open the pool key it stands on and choose “Replace this pool key”. All who share it get a new "
                "credential, which this tenant cannot read while it is suspended.",
                "%(count)s API keys on pooled tiers are not cut off: they share their credentials with other tenants, so API Gateway goes "
                "on answering them. To end them, open the pool keys they stand on and choose “Replace this pool key”. All who share them "
                "get a new credential, which this tenant cannot read while it is suspended.",
                shared,
            )
            % {"count": words.number_of(shared)}
        )
    return effect


def _resume_effect(tenant: Tenant) -> list[str]:
    return [
        _("%(tenant)s can buy and change keys again.") % {"tenant": tenant},
        _("API Gateway answers its siloed keys again within seconds up to minutes, except those that were disabled one by one."),
    ]


SUSPEND: Verb[Tenant] = Verb(
    slug="suspend",
    word=gettext_lazy("Suspend this tenant"),
    act=_suspend,
    effect=_suspend_effect,
    offered=lambda tenant: tenant.suspended_at is None,
    form_class=ReasonForm,
)
RESUME: Verb[Tenant] = Verb(
    slug="resume",
    word=gettext_lazy("Resume this tenant"),
    act=_resume,
    effect=_resume_effect,
    offered=lambda tenant: tenant.suspended_at is not None,
    tone="",
)

admin.site.unregister(Tenant)


@admin.register(Tenant)
class TenantVerbAdmin(VerbAdmin[Tenant], TenantAdmin):
    """A tenant with its members; staff may suspend and resume it."""

    verbs = [SUSPEND, RESUME]
    refusals = (tenants.UnableToSuspend,)
    change_form_template = "admin/keys/change_form.html"
    change_list_template = "admin/keys/change_list.html"
    list_display = ["name", "members", "standing", "created_at"]
    list_filter = [SuspendedFilter]
    fields = ["name", "id", "standing", "created_at"]
    readonly_fields = ["id", "standing", "created_at"]

    @admin.display(description=gettext_lazy("standing"), ordering="suspended_at")
    def standing(self, tenant: Tenant) -> SafeString:
        if tenant.suspended_at is None:
            return cells.status("good", _("Active"))
        return cells.lines(cells.status("bad", _("Suspended")), cells.moment(tenant.suspended_at))
