"""Limits on what people do by hand: guessing passwords, creating accounts, buying, revealing.

django-ratelimit counts in the cache, in fixed windows. Where the cache does not answer, its exception goes through:
``portal.middleware.UnavailableMiddleware`` answers 503 and the guarded view does not run. A limit never opens because it cannot
count.
"""

import functools
import ipaddress
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django_ratelimit.core import get_usage
from django_ratelimit.exceptions import Ratelimited

P = ParamSpec("P")
R = TypeVar("R", bound=HttpRequest)


class TooManyTries(Ratelimited):  # type: ignore[misc]  # django-ratelimit is untyped
    """429. ``group``: which limit; ``seconds``: until its window ends, at least 1."""

    def __init__(self, group: str, seconds: int) -> None:
        super().__init__(f"limit {group} reached")
        self.group = group
        self.seconds = max(1, seconds)


def limited(
    *, group: str, rate: str, key: str = "user", method: str = "POST"
) -> Callable[[Callable[Concatenate[R, P], HttpResponseBase]], Callable[Concatenate[R, P], HttpResponseBase]]:
    """Let through ``rate`` requests ("20/m", "10/5m", "5/h") for each ``key``; raise TooManyTries for more.

    ``key``: "user" (the person; the address of anonymous people), "ip", or "post:FIELD" (the field's text without regard to
    case; a request without it is not counted). Other methods than ``method`` pass uncounted.
    """

    def decorate(view: Callable[Concatenate[R, P], HttpResponseBase]) -> Callable[Concatenate[R, P], HttpResponseBase]:
        @functools.wraps(view)
        def wrapped(request: R, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if request.method == method:
                _count(request, group, rate, key)
            return view(request, *args, **kwargs)

        return wrapped

    return decorate


def _count(request: HttpRequest, group: str, rate: str, key: str) -> None:
    kind, _, field = key.partition(":")
    if kind == "post":
        text = request.POST.get(field, "").strip().lower()
        if not text:
            return
        usage = get_usage(request, group=f"{group}:{field}", key=lambda *_: text, rate=rate, increment=True)
    else:
        usage = get_usage(request, group=f"{group}:{kind}", key="user_or_ip" if kind == "user" else kind, rate=rate, increment=True)
    if usage is not None and usage["should_limit"]:
        raise TooManyTries(group, usage["time_left"])


def client_address(request: HttpRequest) -> str:
    """The address of whoever called us: the one rule for django-ratelimit, allauth and the logs.

    With TRUSTED_PROXY_COUNT = n, each of n proxies appended the address it saw to X-Forwarded-For, so the n-th from the right was
    written by the outermost of them. What stands left of it came from the client and is not believed. A header that is too short
    did not come through our proxies: the peer's address counts. Both libraries count IPv6 by /64.
    """
    peer = _address(request.META.get("REMOTE_ADDR", "")) or "0.0.0.0"  # noqa: S104 - "unknown" (a Unix socket), nothing is bound
    hops = settings.TRUSTED_PROXY_COUNT
    forwarded = request.headers.get("X-Forwarded-For", "").split(",")
    if not hops or len(forwarded) < hops:
        return peer
    return _address(forwarded[-hops]) or peer


def _address(text: str) -> str:
    """The address in ``text`` without port and brackets; "" where there is none. IPv4 inside IPv6 becomes plain IPv4."""
    text = text.strip().removeprefix("[").partition("]")[0]
    if text.count(":") == 1:  # IPv4 with a port
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
