"""An endpoint that does what the body asks for: for tests of what all endpoints share. Import ``probed`` as a mark."""

from __future__ import annotations

import uuid

import pytest
from django.db import OperationalError
from django.urls import path
from redis.exceptions import ConnectionError as RedisConnectionError
from rest_framework.request import Request
from rest_framework.response import Response

from portal.urls import handler400, handler403, handler404, handler500  # noqa: F401 - Django looks for them here
from portal.urls import urlpatterns as real_urls
from tenants.api.idempotency import idempotent
from tenants.api.views import ApiView
from tenants.models import Scope, Tenant

PASSWORD_OF_NOBODY = "hunter2-and-more"


class UnableToProbe(Exception):
    """A service's refusal."""

    field = "name"


class Probe(ApiView):
    scopes = {"GET": Scope.TENANT_READ, "POST": Scope.TENANT_WRITE, "DELETE": Scope.TENANT_WRITE}
    permissions = {"DELETE": "tenants.delete_tenant"}
    refusals = {UnableToProbe: "refused"}

    def get(self, request: Request) -> Response:
        return Response({"caller": self.caller.id})

    @idempotent
    def post(self, request: Request) -> Response:
        """Write a row first, then do as told."""
        Tenant.objects.create(name=f"Made by a probe {uuid.uuid4()}")
        do = request.data.get("do", "")
        if do == "refuse":
            raise UnableToProbe("The tier is closed.")
        if do == "break":
            raise RuntimeError(f"broken: {PASSWORD_OF_NOBODY}")
        if do == "database":
            raise OperationalError("connection to server at db.internal failed")
        if do == "cache":
            raise RedisConnectionError("cache.internal refused")
        if do.isdigit():
            return Response({"status": int(do), "nonce": str(uuid.uuid4())}, status=int(do))
        return Response({"echo": request.data, "nonce": str(uuid.uuid4())}, status=201, headers={"Location": "/api/v1/probe/1"})

    def delete(self, request: Request) -> Response:
        return Response(status=204)


class OtherProbe(Probe):
    """The same under another URL."""


urlpatterns = [path("api/v1/probe", Probe.as_view()), path("api/v1/other-probe", OtherProbe.as_view()), *real_urls]
probed = pytest.mark.urls("tests.tenants.api.probe")
