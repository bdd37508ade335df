"""``/staff/adoptions``: taking over usage plans and keys that somebody else made in an account."""

from dataclasses import asdict
from typing import Any

import django_filters
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from keys import staff_selectors
from keys.api.staff.adoption_shapes import (
    AdoptionConfirmation,
    AdoptionDecisions,
    AdoptionDetailShape,
    AdoptionInput,
    AdoptionPreviewShape,
    AdoptionShape,
    adoption_detail_shown,
    adoption_shown,
    decision_of,
)
from keys.api.staff.base import StaffListView, StaffView
from keys.models import Adoption, AdoptionState, Gateway
from keys.proposals import Proposal
from keys.services import adoptions
from tenants.api.fields import Nothing
from tenants.api.filters import StateFilter
from tenants.api.idempotency import idempotent
from tenants.api.problems import invalid
from tenants.models import Scope


class AdoptionFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter is untyped
    """Where, and how far they are."""

    gateway = django_filters.UUIDFilter(field_name="gateway_id", label=gettext_lazy("Id of the gateway"))
    state = StateFilter(staff_selectors.adoptions_in_state, choices=AdoptionState.choices, label=gettext_lazy("How far it is"))

    class Meta:
        model = Adoption
        fields: list[str] = []


def _adoptions() -> QuerySet[Adoption]:
    return Adoption.objects.select_related("gateway", "asked_by")


class _Adoptions(StaffView):
    refusals = {adoptions.UnableToAdopt: "refused"}

    def answer(self, pk: int, **options: Any) -> Response:
        """The adoption as it is now."""
        return Response(adoption_detail_shown(get_object_or_404(_adoptions(), pk=pk)), **options)


@extend_schema(tags=["Staff: adoptions"])
class AdoptionList(_Adoptions, StaffListView):
    scopes = {"GET": Scope.STAFF_READ, "POST": Scope.STAFF_WRITE}
    permissions = {"GET": "keys.view_adoption", "POST": "keys.change_gateway"}
    serializer_class = AdoptionInput
    filterset_class = AdoptionFilter
    keyset_time_field = "asked_at"

    def get_queryset(self) -> QuerySet[Adoption]:
        return _adoptions().defer("proposal", "decisions", "report")

    @extend_schema(operation_id="staff_list_adoptions", summary="List adoptions", responses=AdoptionShape(many=True))
    def get(self, request: Request) -> Response:
        """Newest first."""
        return self.get_paginated_response([adoption_shown(adoption) for adoption in self.page()])

    @extend_schema(
        operation_id="staff_ask_for_adoption", summary="Ask for an adoption", request=AdoptionInput, responses={202: AdoptionDetailShape}
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Asks a worker what usage plans and keys of others the gateway holds. Nothing is changed. Its proposal appears in the adoption."""
        gateway = Gateway.objects.filter(pk=self.valid()["gateway"]).first()
        if gateway is None:
            raise invalid("gateway", _("There is no such gateway."))
        adoption = adoptions.ask(gateway=gateway, actor=self.caller.actor())
        return self.answer(adoption.pk, status=202, headers={"Location": reverse("api:staff_adoption", args=[adoption.pk])})


@extend_schema(tags=["Staff: adoptions"])
class AdoptionDetail(_Adoptions):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "keys.view_adoption"}
    serializer_class = AdoptionDetailShape

    @extend_schema(operation_id="staff_get_adoption", summary="Look at an adoption", responses=AdoptionDetailShape)
    def get(self, request: Request, pk: int) -> Response:
        """With what was found: decide about it by /confirm."""
        return self.shown(adoption_detail_shown(get_object_or_404(_adoptions(), pk=pk)))


@extend_schema(tags=["Staff: adoptions"])
class AdoptionPreview(_Adoptions):
    scopes = {"POST": Scope.STAFF_READ}
    permissions = {"POST": "keys.view_adoption"}
    serializer_class = AdoptionDecisions

    @extend_schema(
        operation_id="staff_preview_adoption",
        summary="Preview an adoption",
        request=AdoptionDecisions,
        responses=AdoptionPreviewShape,
    )
    @idempotent
    def post(self, request: Request, pk: int) -> Response:
        """How many keys, tiers and tenants the decisions would make. Nothing is changed."""
        decisions = [decision_of(each) for each in self.valid()["plans"]]
        adoption = get_object_or_404(_adoptions(), pk=pk)
        try:
            made = adoptions.preview(gateway=adoption.gateway, proposal=Proposal.read(adoption.proposal), decisions=decisions)
        except adoptions.UnfitDecision as refusal:
            raise invalid(refusal.field, str(refusal)) from refusal
        return Response(asdict(made))


@extend_schema(tags=["Staff: adoptions"])
class AdoptionConfirm(_Adoptions):
    scopes = {"POST": Scope.STAFF_WRITE}
    permissions = {"POST": "keys.change_adoption"}
    serializer_class = AdoptionConfirmation

    @extend_schema(
        operation_id="staff_confirm_adoption", summary="Adopt", request=AdoptionConfirmation, responses={202: AdoptionDetailShape}
    )
    @idempotent
    def post(self, request: Request, pk: int) -> Response:
        """Lets a worker take over what is named. Keys go on being answered all the while, with the values they have; afterwards plans and
        keys get names of ours, and plans the limits that were given. New tiers are closed to buyers until staff reopen them.
        """
        data = self.valid()
        decisions = [decision_of(each) for each in data["plans"]]
        adoption = get_object_or_404(Adoption, pk=pk)
        try:
            adoptions.confirm(adoption=adoption, decisions=decisions, new_tenants=data["new_tenants"], actor=self.caller.actor())
        except adoptions.UnfitDecision as refusal:
            raise invalid(refusal.field, str(refusal)) from refusal
        return self.answer(pk, status=202)


@extend_schema(tags=["Staff: adoptions"])
class AdoptionWithdraw(_Adoptions):
    scopes = {"POST": Scope.STAFF_WRITE}
    permissions = {"POST": "keys.change_adoption"}
    serializer_class = Nothing

    @extend_schema(
        operation_id="staff_withdraw_adoption", summary="Withdraw an adoption", request=Nothing, responses={200: AdoptionDetailShape}
    )
    @idempotent
    def post(self, request: Request, pk: int) -> Response:
        """Nothing is taken over. Another adoption can then be asked for. Repeating it changes nothing."""
        self.valid()
        adoptions.withdraw(adoption=get_object_or_404(Adoption, pk=pk), actor=self.caller.actor())
        return self.answer(pk)
