"""Webhooks of tenants and what was delivered to them: staff look, to see where something hangs. Secrets are never read."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from keys.admin import cells
from keys.admin.base import ReadOnlyAdmin, moment_column
from tenants.models import DeliveryState, WebhookDelivery, WebhookEndpoint


class HealthFilter(admin.SimpleListFilter):
    """How endpoints do."""

    title = gettext_lazy("health")
    parameter_name = "health"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("working", _("Working")), ("failing", _("Failing")), ("disabled", _("Disabled")), ("deleted", _("Deleted"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> QuerySet[WebhookEndpoint]:
        live = Q(disabled_at=None, deleted_at=None)
        conditions = {
            "working": live & Q(failures=0),
            "failing": live & Q(failures__gt=0),
            "disabled": Q(disabled_at__isnull=False, deleted_at=None),
            "deleted": Q(deleted_at__isnull=False),
        }
        return queryset.filter(conditions.get(self.value() or "", Q()))


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnlyAdmin[WebhookEndpoint]):
    """Scheme and host alone are shown: what stands behind them may be a secret of the receiver's."""

    change_form_template = "admin/keys/change_form.html"
    change_list_template = "admin/keys/change_list.html"
    list_display = ["host", "tenant", "health", "in_a_row", "delivered", "failed"]
    list_filter = [HealthFilter]
    search_fields = ["tenant__name", "url"]
    search_help_text = gettext_lazy("Tenant, or part of the URL.")
    ordering = ["-created_at"]
    fields = [
        "host", "tenant", "description", "told_when", "health", "in_a_row", "delivered", "failed", "registered", "disabled", "deleted",
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookEndpoint]:
        return super().get_queryset(request).select_related("tenant").defer("secret_encrypted", "old_secret_encrypted")

    @admin.display(description=gettext_lazy("host"), ordering="url")
    def host(self, endpoint: WebhookEndpoint) -> str:
        return str(endpoint)

    @admin.display(description=gettext_lazy("told when"))
    def told_when(self, endpoint: WebhookEndpoint) -> str:
        return ", ".join(endpoint.types)

    @admin.display(description=gettext_lazy("health"))
    def health(self, endpoint: WebhookEndpoint) -> SafeString:
        if endpoint.deleted_at is not None:
            return cells.status("off", _("Deleted"))
        if endpoint.disabled_at is not None:
            return cells.status("off", _("Disabled"))
        return cells.status("warning", _("Failing")) if endpoint.failures else cells.status("good", _("Working"))

    @admin.display(description=gettext_lazy("failures in a row"), ordering="failures")
    def in_a_row(self, endpoint: WebhookEndpoint) -> SafeString:
        return cells.number(endpoint.failures)

    delivered = moment_column("last_delivered_at", gettext_lazy("last delivered"))
    failed = moment_column("last_failed_at", gettext_lazy("last failed"))
    registered = moment_column("created_at", gettext_lazy("registered"))
    disabled = moment_column("disabled_at", gettext_lazy("disabled"))
    deleted = moment_column("deleted_at", gettext_lazy("deleted"))


class StateFilter(admin.SimpleListFilter):
    """What became of deliveries."""

    title = gettext_lazy("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(state.value, state.label) for state in DeliveryState]

    def queryset(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> QuerySet[WebhookDelivery]:
        conditions = {
            DeliveryState.WAITING.value: Q(delivered_at=None, parked_at=None),
            DeliveryState.DELIVERED.value: Q(delivered_at__isnull=False),
            DeliveryState.PARKED.value: Q(parked_at__isnull=False),
        }
        return queryset.filter(conditions.get(self.value() or "", Q()))


_KINDS = {DeliveryState.WAITING: "waiting", DeliveryState.DELIVERED: "good", DeliveryState.PARKED: "bad"}


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin[WebhookDelivery]):
    """One telling of one event. A tenant replays its own."""

    change_form_template = "admin/keys/change_form.html"
    change_list_template = "admin/keys/change_list.html"
    list_display = ["type", "tenant", "to", "became", "answer", "tries", "tried", "next_try"]
    list_filter = [StateFilter, "event__type"]
    search_fields = ["endpoint__tenant__name", "=event__id"]
    search_help_text = gettext_lazy("Tenant, or a whole webhook-id.")
    ordering = ["-pk"]
    fields = ["type", "webhook_id", "tenant", "to", "status", "answer", "took", "tries", "happened", "tried", "next_try", "error"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookDelivery]:
        rows = super().get_queryset(request).select_related("endpoint__tenant", "event")
        return rows.defer("endpoint__secret_encrypted", "endpoint__old_secret_encrypted")

    @admin.display(description=gettext_lazy("type"))
    def type(self, delivery: WebhookDelivery) -> str:
        return delivery.event.type

    @admin.display(description="webhook-id")
    def webhook_id(self, delivery: WebhookDelivery) -> str:
        return str(delivery.event_id)

    @admin.display(description=gettext_lazy("tenant"))
    def tenant(self, delivery: WebhookDelivery) -> SafeString:
        return cells.link(delivery.endpoint.tenant)

    @admin.display(description=gettext_lazy("to"))
    def to(self, delivery: WebhookDelivery) -> SafeString:
        return cells.link(delivery.endpoint)

    @admin.display(description=gettext_lazy("status"))
    def status(self, delivery: WebhookDelivery) -> SafeString:
        return cells.status(_KINDS[delivery.state], delivery.state.label)

    @admin.display(description=gettext_lazy("status"))
    def became(self, delivery: WebhookDelivery) -> SafeString:
        return cells.lines(self.status(delivery), self.error(delivery))

    @admin.display(description=gettext_lazy("answer"))
    def answer(self, delivery: WebhookDelivery) -> SafeString:
        return cells.right(str(delivery.last_status or cells.DASH))

    @admin.display(description=gettext_lazy("took ms"))
    def took(self, delivery: WebhookDelivery) -> SafeString:
        return cells.number(delivery.last_milliseconds)

    @admin.display(description=gettext_lazy("tries"))
    def tries(self, delivery: WebhookDelivery) -> SafeString:
        return cells.number(delivery.attempts)

    @admin.display(description=gettext_lazy("next try"))
    def next_try(self, delivery: WebhookDelivery) -> SafeString:
        return cells.moment(delivery.next_try_at if delivery.state is DeliveryState.WAITING else None)

    @admin.display(description=gettext_lazy("error"))
    def error(self, delivery: WebhookDelivery) -> str:
        return "" if delivery.delivered_at else delivery.last_error

    @admin.display(description=gettext_lazy("happened"))
    def happened(self, delivery: WebhookDelivery) -> SafeString:
        return cells.moment(delivery.event.created_at)

    tried = moment_column("last_tried_at", gettext_lazy("last tried"))
