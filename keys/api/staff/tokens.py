"""``/staff/tokens``: the caller's own tokens for the staff's endpoints."""

import uuid

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys.api.staff.base import StaffListView, StaffView
from keys.api.staff.examples import with_example
from tenants.api.fields import Input, Moment, Several, Text
from tenants.api.idempotency import idempotent
from tenants.api.shapes import NewTokenShape, TokenShape, token_shown
from tenants.models import Scope, Token
from tenants.rights import STAFF_SCOPES
from tenants.services.tokens import UnableToMakeToken, make_token, revoke_token


@with_example
class StaffTokenInput(Input):
    """A token to make."""

    name = Text(max_length=100, help_text="What will use it.")
    scopes = Several(
        child=serializers.ChoiceField(choices=sorted(STAFF_SCOPES)), min_length=1, max_length=len(STAFF_SCOPES), help_text="What it may do."
    )
    expires_at = Moment(required=False, allow_null=True, default=None, help_text="Null: it works until it is revoked.")


class _Tokens(StaffView):
    own = True
    refusals = {UnableToMakeToken: "invalid-fields"}

    def get_queryset(self) -> QuerySet[Token]:
        return Token.objects.filter(tenant=None, user=self.caller.user).select_related("user")


@extend_schema(tags=["Staff: tokens"])
class StaffTokenList(_Tokens, StaffListView):
    scopes = {"GET": Scope.STAFF_READ, "POST": Scope.STAFF_WRITE}
    serializer_class = StaffTokenInput
    secret_methods = frozenset({"POST"})

    @extend_schema(operation_id="staff_list_tokens", summary="List your staff tokens", responses=TokenShape(many=True))
    def get(self, request: Request) -> Response:
        """Your own tokens for the staff's endpoints, newest first, ended ones too."""
        return self.get_paginated_response([token_shown(token) for token in self.page()])

    @extend_schema(operation_id="staff_make_token", summary="Make a staff token", request=StaffTokenInput, responses={201: NewTokenShape})
    @idempotent
    def post(self, request: Request) -> Response:
        """The secret is in this answer and nowhere else. A token may do what its maker may, permission by permission."""
        caller = self.caller
        token, secret = make_token(
            user=caller.user, tenant=None, within=caller.scopes, until=caller.token_ends_at, actor=caller.actor(), **self.valid()
        )
        location = reverse("api:staff_token", args=[token.pk])
        return Response({**token_shown(token), "token": secret}, status=201, headers={"Location": location})


@extend_schema(tags=["Staff: tokens"])
class StaffTokenDetail(_Tokens):
    scopes = {"GET": Scope.STAFF_READ, "DELETE": Scope.STAFF_WRITE}
    serializer_class = TokenShape

    @extend_schema(operation_id="staff_get_token", summary="Look at a staff token", responses=TokenShape)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """One of your own, without its secret."""
        return self.shown(token_shown(get_object_or_404(self.get_queryset(), pk=pk)))

    @extend_schema(operation_id="staff_revoke_token", summary="Revoke a staff token", responses={204: None})
    def delete(self, request: Request, pk: uuid.UUID) -> Response:
        """End one of your own for ever. Repeating it changes nothing."""
        revoke_token(token=get_object_or_404(self.get_queryset(), pk=pk), actor=self.caller.actor())
        return Response(status=204)
