"""What comparing gateways with the database found."""

from typing import TYPE_CHECKING, Any, TypedDict

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from keys import words
from keys.admin import cells
from keys.admin.base import ReadOnlyAdmin, moment_column
from keys.models import Finding, FindingKind, FindingState, ReconcileRun
from keys.staff_selectors import RUN_OUTCOMES, findings_in_state, outcome_of, runs_with_outcome

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations


STATE_TONES = {
    FindingState.OPEN: "waiting",
    FindingState.REPAIRING: "waiting",
    FindingState.QUARANTINE: "warning",
    FindingState.RESOLVED: "good",
}
OUTCOME_TONES = {"clean": "good", "drift": "warning", "stopped": "bad", "failed": "bad", "running": "waiting"}


class RunFacts(TypedDict):
    """What the list reads beside the row."""

    found: int


def outcome_cell(run: ReconcileRun, findings: int) -> SafeString:
    """How a run with so many findings ended, as a dot and a word."""
    outcome = outcome_of(run, findings)
    return cells.status(OUTCOME_TONES[outcome], RUN_OUTCOMES[outcome])


def state_cell(finding: Finding) -> SafeString:
    """What has become of a finding, and why its repair failed."""
    word = _("Repaired") if finding.state is FindingState.RESOLVED and finding.row_id else str(finding.state.label)
    tone = "bad" if finding.state is FindingState.OPEN and finding.trouble else STATE_TONES[finding.state]
    return cells.lines(cells.status(tone, word), finding.trouble)


class OutcomeFilter(admin.SimpleListFilter):
    """How a run ended."""

    title = gettext_lazy("outcome")
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(outcome, str(word)) for outcome, word in RUN_OUTCOMES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ReconcileRun]) -> QuerySet[ReconcileRun]:
        return runs_with_outcome(queryset, self.value() or "")


class PurposeFilter(admin.SimpleListFilter):
    """Whether a run was to repair what it found."""

    title = gettext_lazy("purpose")
    parameter_name = "purpose"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("repair", _("Compare and repair")), ("compare", _("Compare only"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ReconcileRun]) -> QuerySet[ReconcileRun]:
        return queryset.filter(dry_run=self.value() == "compare") if self.value() else queryset


class RepairFilter(admin.SimpleListFilter):
    """What has become of a finding."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.value, str(state.label)) for state in FindingState]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Finding]) -> QuerySet[Finding]:
        return findings_in_state(queryset, self.value() or "")


@admin.register(ReconcileRun)
class ReconcileRunAdmin(ReadOnlyAdmin[ReconcileRun]):
    """One row a comparison, newest first."""

    list_display = [
        "started", "gateway", "outcome", "purpose", "listed_plans_count", "listed_keys_count", "found_count", "calls_count", "took",
        "trouble",
    ]  # fmt: skip
    list_filter = ["gateway", OutcomeFilter, PurposeFilter]
    ordering = ["-started_at"]
    fields = [
        "gateway", "outcome", "purpose", "started", "ended", "took", "listed_plans_count", "listed_keys_count", "calls_count",
        "findings_link", "stopped", "error",
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReconcileRun]:
        return super().get_queryset(request).select_related("gateway").annotate(found=Count("findings"))

    started = moment_column("started_at", gettext_lazy("started"))
    ended = moment_column("ended_at", gettext_lazy("ended"))

    @admin.display(description=gettext_lazy("outcome"))
    def outcome(self, run: "WithAnnotations[ReconcileRun, RunFacts]") -> SafeString:
        return outcome_cell(run, run.found)

    @admin.display(description=gettext_lazy("purpose"), ordering="dry_run")
    def purpose(self, run: ReconcileRun) -> str:
        return _("Compare only") if run.dry_run else _("Compare and repair")

    @admin.display(description=gettext_lazy("what went wrong"))
    def trouble(self, run: ReconcileRun) -> str:
        return run.error or run.stopped or cells.DASH

    @admin.display(description=gettext_lazy("findings"))
    def findings_link(self, run: "WithAnnotations[ReconcileRun, RunFacts]") -> SafeString:
        url = f"{reverse('admin:keys_finding_changelist')}?{urlencode({'run__id__exact': run.pk})}"
        return format_html('<a href="{}">{}</a>', url, words.number_of(run.found)) if run.found else cells.number(0)

    @admin.display(description=gettext_lazy("calls"), ordering="calls")
    def calls_count(self, run: ReconcileRun) -> SafeString:
        return cells.number(run.calls)

    @admin.display(description=gettext_lazy("plans"), ordering="plans_listed")
    def listed_plans_count(self, run: ReconcileRun) -> SafeString:
        return cells.number(run.plans_listed)

    @admin.display(description=gettext_lazy("keys"), ordering="keys_listed")
    def listed_keys_count(self, run: ReconcileRun) -> SafeString:
        return cells.number(run.keys_listed)

    @admin.display(description=gettext_lazy("findings"), ordering="found")
    def found_count(self, run: "WithAnnotations[ReconcileRun, RunFacts]") -> SafeString:
        return cells.right(self.findings_link(run))

    @admin.display(description=gettext_lazy("took"))
    def took(self, run: ReconcileRun) -> SafeString:
        return cells.right(words.duration_text(run.ended_at - run.started_at) if run.ended_at else cells.DASH)


@admin.register(Finding)
class FindingAdmin(ReadOnlyAdmin[Finding]):
    """One row a difference, newest first."""

    list_display = ["found", "gateway", "shown_kind", "state", "label", "change", "action"]
    list_filter = ["kind", "subject", "gateway", RepairFilter]
    search_fields = ["label", "remote_id"]
    ordering = ["-found_at"]
    fields = [
        "gateway", "found_by", "kind", "subject", "label", "remote_id", "before", "after", "action", "state", "found", "quarantined",
        "resolved",
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

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """The findings of one run: its page links here."""
        return lookup == "run__id__exact" or super().lookup_allowed(lookup, value, request)

    @admin.display(description=gettext_lazy("difference"))
    def change(self, finding: Finding) -> SafeString:
        after = _("shall be: %(after)s") % {"after": finding.after} if finding.after else ""
        return cells.lines(finding.before or finding.detail, after)

    @admin.display(description=gettext_lazy("kind"), ordering="kind")
    def shown_kind(self, finding: Finding) -> SafeString:
        return cells.lines(FindingKind(finding.kind).name.replace("_", " ").capitalize(), finding.subject)

    @admin.display(description=gettext_lazy("state"), ordering="resolved_at")
    def state(self, finding: Finding) -> SafeString:
        return state_cell(finding)
