"""``/tokens``."""

import uuid
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.idempotency import idempotent
from tenants.api.shapes import NewTokenShape, TokenInput, TokenShape, token_shown
from tenants.api.views import ApiView, ListView
from tenants.models import Scope, Token
from tenants.services.tokens import UnableToMakeToken, make_token, revoke_token


class _Tokens(ApiView):
    """Of the tenant. Staff have theirs at /staff/tokens."""

    refusals = {UnableToMakeToken: "invalid-fields"}
    scopes: ClassVar[dict[str, Scope]] = {}

    def get_queryset(self) -> QuerySet[Token]:
        return Token.objects.filter(tenant=self.tenant).select_related("user")


@extend_schema(tags=["Tokens"])
class TokenList(_Tokens, ListView):
    scopes = {"GET": Scope.TENANT_READ, "POST": Scope.TENANT_WRITE}
    serializer_class = TokenInput
    secret_methods = frozenset({"POST"})

    @extend_schema(operation_id="list_tokens", summary="List tokens", responses=TokenShape(many=True))
    def get(self, request: Request) -> Response:
        """Tokens of the organisation, newest first, ended ones too."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response([token_shown(token) for token in page or []])

    @extend_schema(operation_id="make_token", summary="Make a token", request=TokenInput, responses={201: NewTokenShape})
    @idempotent
    def post(self, request: Request) -> Response:
        """The secret is in this answer alone. It has no scope that its maker lacks, and a token that makes it does not end first."""
        caller = self.caller
        data: dict[str, Any] = self.valid()
        token, secret = make_token(
            user=caller.user, tenant=self.tenant, within=caller.scopes, until=caller.token_ends_at, actor=caller.actor(), **data
        )
        location = reverse("api:token", args=[token.pk])
        return Response({**token_shown(token), "token": secret}, status=201, headers={"Location": location})


@extend_schema(tags=["Tokens"])
class TokenDetail(_Tokens):
    scopes = {"GET": Scope.TENANT_READ, "DELETE": Scope.TENANT_WRITE}
    serializer_class = TokenShape

    @extend_schema(operation_id="get_token", summary="Look at a token", responses=TokenShape)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """Without its secret."""
        return self.shown(token_shown(get_object_or_404(self.get_queryset(), pk=pk)))

    @extend_schema(operation_id="revoke_token", summary="Revoke a token", responses={204: None})
    def delete(self, request: Request, pk: uuid.UUID) -> Response:
        """End it for ever. Repeating it changes nothing."""
        revoke_token(token=get_object_or_404(self.get_queryset(), pk=pk), actor=self.caller.actor())
        return Response(status=204)
