"""What comparing gateways with the database found."""

from typing import TYPE_CHECKING, Any, TypedDict

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from keys import words
from keys.admin import cells
from keys.admin.base import ReadOnlyAdmin, moment_column
from keys.models import Finding, FindingKind, ReconcileRun
from keys.staff_selectors import findings_in_state

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations


class RunFacts(TypedDict):
    """What the list reads beside the row."""

    found: int


class OutcomeFilter(admin.SimpleListFilter):
    """How a run ended."""

    title = gettext_lazy("outcome")
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("clean", _("In step")), ("drift", _("Drift found")), ("failed", _("Failed")), ("running", _("Running"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ReconcileRun]) -> QuerySet[ReconcileRun]:
        ended = queryset.filter(ended_at__isnull=False, error="")
        return {
            "clean": ended.filter(findings=None),
            "drift": ended.filter(pk__in=Finding.objects.values("run")),
            "failed": queryset.exclude(error=""),
            "running": queryset.filter(ended_at=None),
        }.get(self.value() or "", queryset)


class RepairFilter(admin.SimpleListFilter):
    """What has become of a finding."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", _("Open")), ("quarantine", _("In quarantine")), ("resolved", _("Resolved"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Finding]) -> QuerySet[Finding]:
        return findings_in_state(queryset, self.value() or "")


@admin.register(ReconcileRun)
class ReconcileRunAdmin(ReadOnlyAdmin[ReconcileRun]):
    """One row a comparison, newest first."""

    list_display = ["started", "gateway", "outcome", "listed_plans_count", "listed_keys_count", "found_count", "took", "error"]
    list_filter = ["gateway", OutcomeFilter]
    ordering = ["-started_at"]
    fields = ["gateway", "outcome", "started", "ended", "took", "plans_listed", "keys_listed", "found_count", "error"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReconcileRun]:
        return super().get_queryset(request).select_related("gateway").annotate(found=Count("findings"))

    started = moment_column("started_at", gettext_lazy("started"))
    ended = moment_column("ended_at", gettext_lazy("ended"))

    @admin.display(description=gettext_lazy("outcome"))
    def outcome(self, run: "WithAnnotations[ReconcileRun, RunFacts]") -> SafeString:
        if run.error:
            return cells.status("bad", _("Failed"))
        if run.ended_at is None:
            return cells.status("waiting", _("Running"))
        return cells.status("warning", _("Drift found")) if run.found else cells.status("good", _("In step"))

    @admin.display(description=gettext_lazy("plans"), ordering="plans_listed")
    def listed_plans_count(self, run: ReconcileRun) -> SafeString:
        return cells.number(run.plans_listed)

    @admin.display(description=gettext_lazy("keys"), ordering="keys_listed")
    def listed_keys_count(self, run: ReconcileRun) -> SafeString:
        return cells.number(run.keys_listed)

    @admin.display(description=gettext_lazy("findings"), ordering="found")
    def found_count(self, run: "WithAnnotations[ReconcileRun, RunFacts]") -> SafeString:
        return cells.number(run.found)

    @admin.display(description=gettext_lazy("took"))
    def took(self, run: ReconcileRun) -> SafeString:
        return cells.right(words.duration_text(run.ended_at - run.started_at) if run.ended_at else cells.DASH)


@admin.register(Finding)
class FindingAdmin(ReadOnlyAdmin[Finding]):
    """One row a difference, newest first."""

    list_display = ["found", "gateway", "shown_kind", "subject", "label", "detail", "action", "state"]
    list_filter = ["kind", "subject", "gateway", RepairFilter]
    search_fields = ["label", "remote_id"]
    ordering = ["-found_at"]
    fields = [
        "gateway", "found_by", "kind", "subject", "label", "remote_id", "detail", "action", "state", "found", "quarantined", "resolved",
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Finding]:
        return super().get_queryset(request).select_related("gateway", "run")

    found = moment_column("found_at", gettext_lazy("found"))
    quarantined = moment_column("quarantined_at", gettext_lazy("quarantined"))
    resolved = moment_column("resolved_at", gettext_lazy("resolved"))

    @admin.display(description=gettext_lazy("found by"))
    def found_by(self, finding: Finding) -> SafeString:
        text = _("the run of %(time)s UTC") % {"time": f"{finding.run.started_at:%Y-%m-%d %H:%M}"}
        return format_html('<a href="{}">{}</a>', cells.change_url(finding.run), text)

    @admin.display(description=gettext_lazy("kind"), ordering="kind")
    def shown_kind(self, finding: Finding) -> str:
        return FindingKind(finding.kind).name.capitalize()

    @admin.display(description=gettext_lazy("state"), ordering="resolved_at")
    def state(self, finding: Finding) -> SafeString:
        if finding.resolved_at is not None:
            return cells.status("good", _("Resolved"))
        return cells.status("warning", _("In quarantine")) if finding.quarantined_at else cells.status("waiting", _("Open"))
