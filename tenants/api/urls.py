"""URLs of the REST API about organisations and tokens. No trailing slash."""

from django.urls import path

from tenants.api import tenant, tokens

urlpatterns = [
    path("tenant", tenant.TenantDetail.as_view(), name="tenant"),
    path("members", tenant.MemberList.as_view(), name="members"),
    path("audit-events", tenant.AuditEventList.as_view(), name="audit_events"),
    path("tokens", tokens.TokenList.as_view(), name="tokens"),
    path("tokens/<uuid:pk>", tokens.TokenDetail.as_view(), name="token"),
]
