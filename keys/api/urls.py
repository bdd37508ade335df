"""All URLs of the REST API, version 1."""

from django.urls import include, path

from keys.api import batch, keys, tiers, usage

app_name = "api"

urlpatterns = [
    path("", include("tenants.api.urls")),
    path("tiers", tiers.TierList.as_view(), name="tiers"),
    path("tiers/<slug:slug>", tiers.TierDetail.as_view(), name="tier"),
    path("keys", keys.KeyList.as_view(), name="keys"),
    path("keys/batch", batch.KeyBatch.as_view(), name="key_batch"),
    path("keys/<uuid:pk>", keys.KeyDetail.as_view(), name="key"),
    path("keys/<uuid:pk>/rotate", keys.KeyRotate.as_view(), name="key_rotate"),
    path("keys/<uuid:pk>/enable", keys.KeyEnable.as_view(), name="key_enable"),
    path("keys/<uuid:pk>/disable", keys.KeyDisable.as_view(), name="key_disable"),
    path("keys/<uuid:pk>/reveal", keys.KeyReveal.as_view(), name="key_reveal"),
    path("keys/<uuid:pk>/usage", usage.KeyUsage.as_view(), name="key_usage"),
    path("usage", usage.Usage.as_view(), name="usage"),
    path("staff/", include("keys.api.staff.urls")),
]
