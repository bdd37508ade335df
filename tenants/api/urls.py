"""URLs of the REST API about organisations, tokens and webhooks. No trailing slash."""

from django.urls import path

from tenants.api import tenant, tokens, webhooks

urlpatterns = [
    path("tenant", tenant.TenantDetail.as_view(), name="tenant"),
    path("members", tenant.MemberList.as_view(), name="members"),
    path("audit-events", tenant.AuditEventList.as_view(), name="audit_events"),
    path("tokens", tokens.TokenList.as_view(), name="tokens"),
    path("tokens/<uuid:pk>", tokens.TokenDetail.as_view(), name="token"),
    path("webhooks", webhooks.WebhookList.as_view(), name="webhooks"),
    path("webhooks/<uuid:pk>", webhooks.WebhookDetail.as_view(), name="webhook"),
    path("webhooks/<uuid:pk>/rotate-secret", webhooks.WebhookRotateSecret.as_view(), name="webhook_rotate_secret"),
    path("webhooks/<uuid:pk>/test", webhooks.WebhookTest.as_view(), name="webhook_test"),
    path("webhooks/<uuid:pk>/deliveries", webhooks.DeliveryList.as_view(), name="webhook_deliveries"),
    path("webhooks/<uuid:pk>/deliveries/<uuid:delivery_id>", webhooks.DeliveryDetail.as_view(), name="webhook_delivery"),
    path("webhooks/<uuid:pk>/deliveries/<uuid:delivery_id>/replay", webhooks.DeliveryReplay.as_view(), name="webhook_replay"),
]
