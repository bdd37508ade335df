from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = _("Portal")

    def ready(self) -> None:
        from django.contrib import admin  # needs the app registry

        from portal import checks  # noqa: F401 - registers the checks

        admin.site.site_header = _("Tollgate staff")
        admin.site.site_title = _("Tollgate staff")
        admin.site.index_title = _("Tiers, gateways, keys and people")
