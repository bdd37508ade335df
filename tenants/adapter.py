"""How allauth is bent to this portal."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest

from tenants.ratelimits import client_address


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth is untyped
    """The rate limits of allauth count by the same address as ours."""

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request)
