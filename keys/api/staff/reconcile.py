"""``/staff/reconcile-runs`` and ``/staff/findings``: what comparing gateways with the database found."""

from collections.abc import Collection
from typing import Any

import django_filters
from django import forms
from django.db.models import Count, QuerySet
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import staff_selectors
from keys.api.staff.base import GatewayRef, StaffListView, gateway_ref
from keys.api.staff.examples import with_example
from keys.models import Finding, FindingKind, FindingState, ReconcileRun
from tenants.api.filters import ChoiceFilter, StateFilter, YesNoFilter
from tenants.models import Scope

OUTCOMES = list(staff_selectors.RUN_OUTCOMES.items())
STATES = FindingState.choices


@with_example
class ReconcileRunShape(serializers.Serializer[Any]):
    """One comparison of everything on a gateway."""

    id = serializers.IntegerField()
    gateway = GatewayRef()
    outcome = serializers.ChoiceField(choices=OUTCOMES)
    started_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    dry_run = serializers.BooleanField(help_text="It only looked, and changed nothing.")
    plans_listed = serializers.IntegerField()
    keys_listed = serializers.IntegerField()
    findings = serializers.IntegerField(help_text="How many differences it found: see /staff/findings.")
    calls = serializers.IntegerField(help_text="To API Gateway, from its beginning to its end.")
    stopped = serializers.CharField(allow_blank=True, help_text="Why a run that would have deleted too much changed nothing.")
    error = serializers.CharField(allow_blank=True)


def run_shown(run: ReconcileRun, findings: int) -> dict[str, Any]:
    """``ReconcileRunShape``. Select ``gateway`` with the row."""
    return {
        "id": run.pk,
        "gateway": gateway_ref(run.gateway),
        "outcome": staff_selectors.outcome_of(run, findings),
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "dry_run": run.dry_run,
        "plans_listed": run.plans_listed,
        "keys_listed": run.keys_listed,
        "findings": findings,
        "calls": run.calls,
        "stopped": run.stopped,
        "error": run.error,
    }


@with_example
class FindingShape(serializers.Serializer[Any]):
    """One difference between a gateway and the database, and what was done about it."""

    id = serializers.IntegerField()
    run = serializers.IntegerField(help_text="Id of the reconcile run that found it.")
    gateway = GatewayRef()
    kind = serializers.ChoiceField(choices=FindingKind.values)
    subject = serializers.CharField(help_text="`usage plan` or `gateway key`.")
    remote_id = serializers.CharField(allow_blank=True, help_text="At API Gateway.")
    name = serializers.CharField(allow_blank=True, help_text="Of the usage plan or key.")
    before = serializers.CharField(allow_blank=True, help_text="As it was.")
    after = serializers.CharField(allow_blank=True, help_text="As it shall be; blank where nobody has decided that.")
    detail = serializers.CharField(allow_blank=True, help_text="The difference.")
    action = serializers.CharField(allow_blank=True, help_text="What is done about it.")
    state = serializers.ChoiceField(
        choices=STATES,
        help_text="`open`: nothing is done about it, or its repair failed. `repairing`: until the gateway shows it repaired.",
    )
    trouble = serializers.CharField(allow_blank=True, help_text="Why the repair failed, while it does.")
    found_at = serializers.DateTimeField()
    quarantined_at = serializers.DateTimeField(allow_null=True)
    resolved_at = serializers.DateTimeField(allow_null=True)


def finding_shown(finding: Finding) -> dict[str, Any]:
    """``FindingShape``. Select ``gateway`` with the row."""
    return {
        "id": finding.pk,
        "run": finding.run_id,
        "gateway": gateway_ref(finding.gateway),
        "kind": finding.kind,
        "subject": finding.subject,
        "remote_id": finding.remote_id,
        "name": finding.label,
        "before": finding.before,
        "after": finding.after,
        "detail": finding.detail,
        "action": finding.action,
        "state": str(finding.state),
        "trouble": finding.trouble,
        "found_at": finding.found_at,
        "quarantined_at": finding.quarantined_at,
        "resolved_at": finding.resolved_at,
    }


class RowNumberFilter(django_filters.Filter):  # type: ignore[misc]  # django-filter is untyped
    """The id of a row that is counted, not one of chance."""

    field_class = forms.IntegerField

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=1, max_value=2**63 - 1, **kwargs)
        label = str(kwargs.get("label", ""))
        extend_schema_field({"type": "integer", "minimum": 1, "maximum": 2**63 - 1, "description": label})(self)


class ReconcileRunFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter is untyped
    """Where, and how they ended."""

    gateway = django_filters.UUIDFilter(field_name="gateway_id", label=gettext_lazy("Id of the gateway"))
    outcome = StateFilter(staff_selectors.runs_with_outcome, choices=OUTCOMES, label=gettext_lazy("How it ended"))

    dry_run = YesNoFilter(lambda rows, yes: rows.filter(dry_run=yes), label=gettext_lazy("It only looked"))

    class Meta:
        model = ReconcileRun
        fields: list[str] = []


class FindingFilter(django_filters.FilterSet):  # type: ignore[misc]  # as above
    """Where, of which kind, and what became of them."""

    gateway = django_filters.UUIDFilter(field_name="gateway_id", label=gettext_lazy("Id of the gateway"))
    run = RowNumberFilter(field_name="run_id", label=gettext_lazy("Id of the reconcile run"))
    kind = ChoiceFilter(choices=FindingKind.choices, label=gettext_lazy("How the two differ"))
    state = StateFilter(staff_selectors.findings_in_state, choices=STATES, label=gettext_lazy("What became of it"))

    class Meta:
        model = Finding
        fields: list[str] = []


def _found_by(runs: Collection[ReconcileRun]) -> dict[int, int]:
    return dict(Finding.objects.filter(run__in=[run.pk for run in runs]).order_by().values_list("run").annotate(Count("pk")))


@extend_schema(tags=["Staff: drift"])
class ReconcileRunList(StaffListView):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "keys.view_reconcilerun"}
    serializer_class = ReconcileRunShape
    filterset_class = ReconcileRunFilter
    keyset_time_field = "started_at"

    def get_queryset(self) -> QuerySet[ReconcileRun]:
        return ReconcileRun.objects.select_related("gateway")

    @extend_schema(operation_id="staff_list_reconcile_runs", summary="List reconcile runs", responses=ReconcileRunShape(many=True))
    def get(self, request: Request) -> Response:
        """Comparisons of everything on a gateway with the database, newest first."""
        runs = self.page()
        found = _found_by(runs)
        return self.get_paginated_response([run_shown(run, found.get(run.pk, 0)) for run in runs])


@extend_schema(tags=["Staff: drift"])
class FindingList(StaffListView):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "keys.view_finding"}
    serializer_class = FindingShape
    filterset_class = FindingFilter
    keyset_time_field = "found_at"

    def get_queryset(self) -> QuerySet[Finding]:
        return Finding.objects.select_related("gateway")

    @extend_schema(operation_id="staff_list_findings", summary="List drift findings", responses=FindingShape(many=True))
    def get(self, request: Request) -> Response:
        """Differences between gateways and the database, newest first, with what was done about each."""
        return self.get_paginated_response([finding_shown(finding) for finding in self.page()])
