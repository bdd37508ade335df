"""URLs about tenants."""

from django.urls import path

from tenants import views

app_name = "tenants"

urlpatterns = [
    path("organisations/", views.switch, name="switch"),
]
