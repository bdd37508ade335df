"""How allauth is bent to this portal."""

import time
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest, HttpResponseBase

from tenants.models import User
from tenants.ratelimits import client_address
from tenants.reauth import SIGNED_IN_AT


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth is untyped
    """The rate limits of allauth count by the same address as ours; a session knows when it began."""

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request)

    def post_login(self, request: HttpRequest, user: User, **options: Any) -> HttpResponseBase:
        """Note the sign-in, whichever way it was: by password, or by the link mailed to the browser that signed up."""
        request.session[SIGNED_IN_AT] = time.time()
        return super().post_login(request, user, **options)  # type: ignore[no-any-return]
