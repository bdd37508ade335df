"""All URLs of the REST API, version 1."""

from django.urls import include, path

app_name = "api"

urlpatterns = [
    path("", include("tenants.api.urls")),
    path("staff/", include("keys.api.staff.urls")),
]
