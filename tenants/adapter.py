"""How allauth is bent to this portal."""

import time
from typing import Any, ClassVar

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from tenants.current import memberships_of
from tenants.models import User
from tenants.ratelimits import client_address
from tenants.reauth import SIGNED_IN_AT


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth is untyped
    """The rate limits of allauth count by the same address as ours; a session knows when it began; errors are in our words."""

    error_messages: ClassVar[dict[str, Any]] = {
        **DefaultAccountAdapter.error_messages,
        "account_inactive": _("This account is switched off. Ask those who run the portal to switch it on again."),
        "cannot_remove_primary_email": _("The primary address cannot be removed. Make another one primary first."),
        "duplicate_email": _("This address is in your list already."),
        "email_password_mismatch": _("No account has this address and this password. Try again, or reset the password."),
        "email_taken": _("Another account has this address."),
        "enter_current_password": _("This is not your current password."),
        "incorrect_password": _("This is not your password."),
        "invalid_password_reset": _("This link no longer works. Ask for a new one."),
        "max_email_addresses": _("You have as many addresses as an account may have (%d)."),
        "too_many_login_attempts": _("Too many tries to sign in. Wait some minutes and try again."),
        "rate_limited": _("Too many tries. Wait a minute and try again."),
    }

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request)

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """Where people go who asked for no page: staff without a tenant to theirs, for the others would refuse them."""
        user = request.user
        if isinstance(user, User) and user.is_staff and not memberships_of(user):
            return reverse("admin:index")
        return str(super().get_login_redirect_url(request))

    def post_login(self, request: HttpRequest, user: User, **options: Any) -> HttpResponseBase:
        """Note the sign-in, whichever way it was: by password, or by the link mailed to the browser that signed up."""
        request.session[SIGNED_IN_AT] = time.time()
        return super().post_login(request, user, **options)  # type: ignore[no-any-return]
