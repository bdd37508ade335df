"""Asking who it is once more, before a secret is shown."""

import functools
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar
from urllib.parse import urlencode

from allauth.account import app_settings
from allauth.account.adapter import get_adapter
from allauth.account.authentication import get_authentication_records
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.urls import reverse

from tenants.returning import detour, page_to_return_to

# When the session's person signed in: seconds since the epoch.
SIGNED_IN_AT = "signed_in_at"

P = ParamSpec("P")
R = TypeVar("R", bound=HttpRequest)


def did_recently_authenticate(request: HttpRequest) -> bool:
    """Whether the person proved who they are, by signing in or again, within ACCOUNT_REAUTHENTICATION_TIMEOUT seconds.

    allauth's own check counts only a repeated proof; somebody who signed in a minute ago need not be asked, nor somebody who has
    just signed up and opened the link that was mailed to them.
    """
    if not request.user.is_authenticated:
        return False
    proofs = [record["at"] for record in get_authentication_records(request, request.user)]
    return bool(time.time() - max([*proofs, request.session.get(SIGNED_IN_AT, 0)]) < app_settings.REAUTHENTICATION_TIMEOUT)


def reauthentication_required(
    view: Callable[Concatenate[R, P], HttpResponseBase],
) -> Callable[Concatenate[R, P], HttpResponseBase]:
    """For views that show or replace a secret. Otherwise the person is asked first and comes back to a page, not to the POST.

    A script (``Accept: application/json``) gets 401 with ``{"reauthenticate": url}``, htmx a redirect of the whole page.
    """

    @functools.wraps(view)
    def wrapped(request: R, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if did_recently_authenticate(request):
            return view(request, *args, **kwargs)
        url = _page_that_asks(request)
        if request.headers.get("Accept") == "application/json":
            url = f"{url}?{urlencode({'next': page_to_return_to(request)})}"
            return JsonResponse({"reauthenticate": url}, status=401)
        return detour(request, url)

    return wrapped


def _page_that_asks(request: HttpRequest) -> str:
    """The password's page, or the second factor's where the person has no password."""
    methods = get_adapter().get_reauthentication_methods(request.user)
    return str(methods[0]["url"]) if methods else reverse("account_reauthenticate")
