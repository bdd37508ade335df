"""What the REST API is measured beside: views without authentication, with another library's, and lists as REST framework makes them."""

from typing import Any

from django.db.models import QuerySet
from django.urls import path
from django.utils import timezone
from rest_framework import generics, pagination, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_api_key.permissions import HasAPIKey

from keys.models import ApiKey
from tenants.api.authentication import TokenAuthentication
from tenants.api.views import ApiView
from tenants.api.wire import AlwaysJson, JsonRenderer
from tenants.models import Scope


class Open(APIView):
    """Nobody is asked anything."""

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []
    renderer_classes = [JsonRenderer]
    content_negotiation_class = AlwaysJson

    def get(self, request: Request) -> Response:
        return Response({"ok": True})


class Checked(Open):
    """The same with our token."""

    authentication_classes = [TokenAuthentication]


class Library(Open):
    """The same with djangorestframework-api-key."""

    permission_classes = [HasAPIKey]


class Empty(ApiView):
    """An endpoint of ours that does nothing: token, scope, limits, parameters."""

    scopes = {"GET": Scope.KEYS_READ, "POST": Scope.KEYS_WRITE}

    def get(self, request: Request) -> Response:
        return Response({"ok": True})

    def post(self, request: Request) -> Response:
        return Response({"ok": bool(request.data)}, status=201)


class KeySerializer(serializers.ModelSerializer[ApiKey]):
    """The fields that our list shows."""

    tier = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True)
    last_four = serializers.CharField(source="gateway_key.last_four")
    status = serializers.SerializerMethodField()
    endpoint = serializers.SerializerMethodField()

    class Meta:
        model = ApiKey
        fields = ["id", "name", "description", "tier", "status", "last_four", "endpoint", "created_at", "disabled_at", "revoked_at"]

    def get_status(self, row: ApiKey) -> str:
        return row.status(timezone.now())

    def get_endpoint(self, row: ApiKey) -> str:
        return "http://127.0.0.1/v1"  # without the query a row that a first version would make


class ByCursor(pagination.CursorPagination):
    page_size = 50
    ordering = "-created_at"


class ByOffset(pagination.LimitOffsetPagination):
    default_limit = 50


class PlainList(generics.ListAPIView[ApiKey]):
    """The list of one tenant's keys as the tutorials write it, with the same token as ours."""

    authentication_classes = [TokenAuthentication]
    permission_classes: list[Any] = []
    renderer_classes = [JsonRenderer]
    serializer_class = KeySerializer

    def get_queryset(self) -> QuerySet[ApiKey]:
        return (
            ApiKey.objects.filter(tenant=self.request.auth.tenant).select_related("tier", "gateway_key", "tenant").order_by("-created_at")
        )


urlpatterns = [
    path("open", Open.as_view()),
    path("checked", Checked.as_view()),
    path("library", Library.as_view()),
    path("empty", Empty.as_view()),
    path("cursor", PlainList.as_view(pagination_class=ByCursor)),
    path("offset", PlainList.as_view(pagination_class=ByOffset)),
]
