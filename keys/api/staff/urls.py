"""URLs of the staff's part of the REST API, below ``staff/``. No trailing slash."""

from django.urls import path

from keys.api.staff import api_keys, audit, gateway_keys, gateways, pools, reconcile, tenants, tiers, tokens, usage, usage_plans

urlpatterns = [
    path("tiers", tiers.TierList.as_view(), name="staff_tiers"),
    path("tiers/<uuid:pk>", tiers.TierDetail.as_view(), name="staff_tier"),
    path("tiers/<uuid:pk>/preview", tiers.TierPreview.as_view(), name="staff_tier_preview"),
    path("tiers/<uuid:pk>/retire", tiers.TierRetire.as_view(), name="staff_tier_retire"),
    path("tiers/<uuid:pk>/reopen", tiers.TierReopen.as_view(), name="staff_tier_reopen"),
    path("usage-plans", usage_plans.UsagePlanList.as_view(), name="staff_usage_plans"),
    path("gateways", gateways.GatewayList.as_view(), name="staff_gateways"),
    path("gateways/<uuid:pk>", gateways.GatewayDetail.as_view(), name="staff_gateway"),
    path("gateways/<uuid:pk>/reconcile", gateways.GatewayReconcile.as_view(), name="staff_gateway_reconcile"),
    path("gateways/<uuid:pk>/try-again", gateways.GatewayTryAgain.as_view(), name="staff_gateway_try_again"),
    path("gateways/<uuid:pk>/stages", gateways.StageList.as_view(), name="staff_stages"),
    path("stages/<uuid:pk>", gateways.StageDetail.as_view(), name="staff_stage"),
    path("pools", pools.PoolList.as_view(), name="staff_pools"),
    path("pools/<uuid:pk>", pools.PoolDetail.as_view(), name="staff_pool"),
    path("pools/<uuid:pk>/preview", pools.PoolPreview.as_view(), name="staff_pool_preview"),
    path("pools/<uuid:pk>/resize", pools.PoolResize.as_view(), name="staff_pool_resize"),
    path("gateway-keys", gateway_keys.GatewayKeyList.as_view(), name="staff_gateway_keys"),
    path("gateway-keys/<uuid:pk>", gateway_keys.GatewayKeyDetail.as_view(), name="staff_gateway_key"),
    path("gateway-keys/<uuid:pk>/replace", gateway_keys.GatewayKeyReplace.as_view(), name="staff_gateway_key_replace"),
    path("tenants", tenants.TenantList.as_view(), name="staff_tenants"),
    path("tenants/<uuid:pk>", tenants.TenantDetail.as_view(), name="staff_tenant"),
    path("tenants/<uuid:pk>/suspend", tenants.TenantSuspend.as_view(), name="staff_tenant_suspend"),
    path("tenants/<uuid:pk>/resume", tenants.TenantResume.as_view(), name="staff_tenant_resume"),
    path("keys", api_keys.KeyList.as_view(), name="staff_keys"),
    path("keys/find", api_keys.KeyFind.as_view(), name="staff_key_find"),
    path("keys/<uuid:pk>", api_keys.KeyDetail.as_view(), name="staff_key"),
    path("keys/<uuid:pk>/enable", api_keys.KeyEnable.as_view(), name="staff_key_enable"),
    path("keys/<uuid:pk>/disable", api_keys.KeyDisable.as_view(), name="staff_key_disable"),
    path("keys/<uuid:pk>/revoke", api_keys.KeyRevoke.as_view(), name="staff_key_revoke"),
    path("reconcile-runs", reconcile.ReconcileRunList.as_view(), name="staff_reconcile_runs"),
    path("findings", reconcile.FindingList.as_view(), name="staff_findings"),
    path("usage", usage.UsageTotals.as_view(), name="staff_usage"),
    path("usage/tenants", usage.UsageOfTenants.as_view(), name="staff_usage_of_tenants"),
    path("audit-events", audit.StaffAuditEventList.as_view(), name="staff_audit_events"),
    path("tokens", tokens.StaffTokenList.as_view(), name="staff_tokens"),
    path("tokens/<uuid:pk>", tokens.StaffTokenDetail.as_view(), name="staff_token"),
]
