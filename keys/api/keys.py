"""``/keys``: the life of a key."""

import uuid
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from keys import selectors
from keys.api.filters import ApiKeyFilter
from keys.api.rows import Row, endpoint_urls, key_row, key_rows, row_of
from keys.api.shapes import (
    KeyChange,
    KeyInput,
    KeyShape,
    KeyWithCredentialShape,
    RevokedKeyShape,
    RotatedKeyShape,
    RotateInput,
    key_shown,
    key_version,
    waits_of,
)
from keys.models import ApiKey
from keys.services import api_keys, purchases
from keys.services.purchases import Bought, Item, UnableToBuyKey, UnfitText, UnknownTier
from keys.services.refusals import UnableToChangeKey
from tenants.api import etags
from tenants.api.fields import Input, Nothing
from tenants.api.idempotency import idempotent
from tenants.api.views import ApiView, ListView
from tenants.models import Scope

# The first kind that fits names the problem.
BUYING = {UnknownTier: "invalid-fields", UnfitText: "invalid-fields", UnableToBuyKey: "refused"}


def one_shown(row: Row) -> dict[str, Any]:
    """``KeyShape`` of one row."""
    now = timezone.now()
    return key_shown(row, endpoint_urls([row]), waits_of([row], now), now)


def location_of(pk: uuid.UUID) -> str:
    """Where a key is found."""
    return reverse("api:key", args=[pk])


class _KeyView(ApiView):
    """Something of one key."""

    refusals = {UnableToChangeKey: "refused"}

    def answer(self, row: Row) -> Response:
        """``KeyShape`` of one row, with its ETag."""
        shown = one_shown(row)
        return self.shown(shown, key_version(shown))

    def found(self, pk: uuid.UUID) -> ApiKey:
        """The key as services take it. Raises Http404."""
        return selectors.api_key_of(self.tenant, pk)


class _SwitchView(_KeyView):
    """What makes the gateway do something at once, before all that others wait for: nobody may keep it busy with that."""

    serializer_class: type[Input] = Nothing
    scopes = {"POST": Scope.KEYS_WRITE}
    post_limit = "switches"


@extend_schema(tags=["Keys"])
class KeyList(ListView):
    scopes = {"GET": Scope.KEYS_READ, "POST": Scope.KEYS_WRITE}
    serializer_class = KeyInput
    filterset_class = ApiKeyFilter
    secret_methods = frozenset({"POST"})
    refusals = BUYING

    def get_queryset(self) -> QuerySet[ApiKey, dict[str, Any]]:
        return key_rows(self.tenant)

    @extend_schema(operation_id="list_keys", summary="List keys", responses=KeyShape(many=True))
    def get(self, request: Request) -> Response:
        """Keys of your organisation, newest first, revoked ones too."""
        rows = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        urls, now = endpoint_urls(rows), timezone.now()
        waits = waits_of(rows, now)
        return self.get_paginated_response([key_shown(row, urls, waits, now) for row in rows])

    @extend_schema(operation_id="buy_key", summary="Buy a key", request=KeyInput, responses={201: KeyWithCredentialShape})
    @idempotent
    def post(self, request: Request) -> Response:
        """The answer holds the credential. While `status` is `preparing`, calls are not answered yet: look again, or take a webhook."""
        [outcome] = purchases.buy_and_reveal(tenant=self.tenant, items=[Item(**self.valid())], actor=self.caller.actor())
        if not isinstance(outcome, Bought):
            raise outcome
        shown = one_shown(row_of(outcome.api_key))
        headers = {"Location": location_of(outcome.api_key.pk), "ETag": etags.etag_of(key_version(shown))}
        return Response({**shown, "credential": outcome.value}, status=201, headers=headers)


@extend_schema(tags=["Keys"])
class KeyDetail(_KeyView):
    scopes = {"GET": Scope.KEYS_READ, "PATCH": Scope.KEYS_WRITE, "DELETE": Scope.KEYS_WRITE}
    serializer_class = KeyChange

    @extend_schema(operation_id="get_key", summary="Look at a key", responses=KeyShape)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """Without its credential, which `reveal` answers."""
        return self.answer(key_row(self.tenant, pk))

    @extend_schema(operation_id="change_key", summary="Rename a key", request=KeyChange, responses=KeyShape)
    def patch(self, request: Request, pk: uuid.UUID) -> Response:
        """Another name or description. What is left out stays as it is, and calls are not touched."""
        data = self.valid()
        # Locked without its relations: waiting for the lock, a query that joins would join what stood there before.
        with self.if_match(ApiKey.objects.of(self.tenant).filter(pk=pk), _version) as found:
            name, description = data.get("name", found.name), data.get("description", found.description)
            changed = api_keys.rename(api_key=found, name=name, description=description, actor=self.caller.actor())
        return self.answer(row_of(changed))

    @extend_schema(operation_id="revoke_key", summary="Revoke a key", responses={200: RevokedKeyShape})
    def delete(self, request: Request, pk: uuid.UUID) -> Response:
        """End it for ever; the key stays in the list. `notice` says what is left to do if its credential leaked. Repeating it changes
        nothing.
        """
        revoked = api_keys.revoke(api_key=self.found(pk), check=self._check_version, actor=self.caller.actor())
        return Response({**one_shown(row_of(revoked)), "notice": _notice(revoked)})

    def _check_version(self, api_key: ApiKey) -> None:
        if "If-Match" in self.request.headers:
            etags.check_unchanged(self.request, etags.etag_of(_version(api_key)))


def _version(api_key: ApiKey) -> dict[str, Any]:
    return key_version(one_shown(row_of(api_key)))


def _notice(revoked: ApiKey) -> str | None:
    if revoked.tier.has_own_credentials:
        return None
    return _("If its credential leaked, tell our support: a copy of it may go on being answered until they replace it.")


@extend_schema(tags=["Keys"])
class KeyRotate(_SwitchView):
    serializer_class = RotateInput
    secret_methods = frozenset({"POST"})

    @extend_schema(operation_id="rotate_key", summary="Rotate a key", request=RotateInput, responses=RotatedKeyShape)
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """A new credential, in this answer. The old one goes on working for `grace_seconds`, so that programs can change over.

        Not every tier can: then it is refused, with what to do instead.
        """
        grace = timedelta(seconds=self.valid()["grace_seconds"])
        rotated = api_keys.rotate_and_reveal(api_key=self.found(pk), grace=grace, actor=self.caller.actor())
        shown = one_shown(row_of(rotated.api_key))
        return Response({**shown, "credential": rotated.value, "old_credential_ends_at": rotated.old_ends_at})


@extend_schema(tags=["Keys"])
class KeyEnable(_SwitchView):
    @extend_schema(operation_id="enable_key", summary="Enable a key", request=Nothing, responses=KeyShape)
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Within about a minute calls with it are answered again. Repeating it changes nothing."""
        self.valid()
        return self.answer(row_of(api_keys.enable(api_key=self.found(pk), actor=self.caller.actor())))


@extend_schema(tags=["Keys"])
class KeyDisable(_SwitchView):
    @extend_schema(operation_id="disable_key", summary="Disable a key", request=Nothing, responses=KeyShape)
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Within about a minute calls with it are answered 403, until you enable it again. Repeating it changes nothing.

        Not every tier can: then it is refused, with what to do instead.
        """
        self.valid()
        return self.answer(row_of(api_keys.disable(api_key=self.found(pk), actor=self.caller.actor())))


@extend_schema(tags=["Keys"])
class KeyReveal(_KeyView):
    scopes = {"POST": Scope.KEYS_REVEAL}
    serializer_class = Nothing
    secret_methods = frozenset({"POST"})

    @extend_schema(operation_id="reveal_key", summary="Read a credential", request=Nothing, responses=KeyWithCredentialShape)
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """The key with its current credential. Who read it stands in the audit trail."""
        self.valid()
        api_key = self.found(pk)
        value = api_keys.reveal(api_key=api_key, actor=self.caller.actor())
        return Response({**one_shown(row_of(api_key)), "credential": value})
