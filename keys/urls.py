"""URLs of the tenant's pages for tiers, keys and the console. One URL, one action."""

from django.urls import path

from keys.views import api_keys, changes, console, credentials, purchases, tiers

app_name = "keys"

urlpatterns = [
    path("tiers/", tiers.tier_list, name="tiers"),
    path("keys/", api_keys.key_list, name="list"),
    path("keys/buy/<slug:slug>/", purchases.buy_key, name="buy"),
    path("keys/<uuid:pk>/", api_keys.key_detail, name="detail"),
    path("keys/<uuid:pk>/row/", api_keys.key_row, name="row"),
    path("keys/<uuid:pk>/state/", api_keys.key_state, name="state"),
    path("keys/<uuid:pk>/reveal/", credentials.reveal_key, name="reveal"),
    path("keys/<uuid:pk>/rename/", changes.rename_key, name="rename"),
    path("keys/<uuid:pk>/enable/", changes.enable_key, name="enable"),
    path("keys/<uuid:pk>/disable/", changes.disable_key, name="disable"),
    path("keys/<uuid:pk>/rotate/", changes.rotate_key, name="rotate"),
    path("keys/<uuid:pk>/revoke/", changes.revoke_key, name="revoke"),
    path("console/", console.show_console, name="console"),
]
