"""URLs of a tenant's settings. One URL, one action."""

from django.urls import path

from tenants.views import organisations, tokens, webhooks

app_name = "tenants"

urlpatterns = [
    path("organisations/", organisations.switch, name="switch"),
    path("settings/", organisations.organisation, name="organisation"),
    path("settings/rename/", organisations.rename, name="rename"),
    path("settings/tokens/", tokens.token_list, name="token_list"),
    path("settings/tokens/new/", tokens.make, name="token_make"),
    path("settings/tokens/<uuid:pk>/revoke/", tokens.revoke, name="token_revoke"),
    path("settings/staff-tokens/", tokens.staff_token_list, name="staff_token_list"),
    path("settings/staff-tokens/new/", tokens.make_staff_token, name="staff_token_make"),
    path("settings/staff-tokens/<uuid:pk>/revoke/", tokens.revoke_staff_token, name="staff_token_revoke"),
    path("settings/webhooks/", webhooks.webhook_list, name="webhook_list"),
    path("settings/webhooks/new/", webhooks.register, name="webhook_register"),
    path("settings/webhooks/<uuid:pk>/", webhooks.webhook, name="webhook"),
    path("settings/webhooks/<uuid:pk>/reveal/", webhooks.reveal, name="webhook_reveal"),
    path("settings/webhooks/<uuid:pk>/change/", webhooks.change, name="webhook_change"),
    path("settings/webhooks/<uuid:pk>/rotate/", webhooks.rotate, name="webhook_rotate"),
    path("settings/webhooks/<uuid:pk>/disable/", webhooks.disable, name="webhook_disable"),
    path("settings/webhooks/<uuid:pk>/enable/", webhooks.enable, name="webhook_enable"),
    path("settings/webhooks/<uuid:pk>/delete/", webhooks.delete, name="webhook_delete"),
    path("settings/webhooks/<uuid:pk>/test/", webhooks.send_test, name="webhook_test"),
    path("settings/webhooks/<uuid:pk>/deliveries/<uuid:event>/", webhooks.delivery, name="delivery"),
    path("settings/webhooks/<uuid:pk>/deliveries/<uuid:event>/replay/", webhooks.replay, name="delivery_replay"),
]
