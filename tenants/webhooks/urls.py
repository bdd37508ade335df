"""The shape of an endpoint's URL. Where it really leads is checked again when it is connected to (``transport``)."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

from tenants.webhooks.addresses import may_be_sent_to

LONGEST = 500
_VISIBLE_ASCII = re.compile(r"[!-~]+")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# Systems read these as IPv4 addresses in other clothes: 2130706433, 0x7f.1, 017700000001, 127.1.
_LOOKS_NUMERIC = re.compile(r"(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+))*\.?")
_DEFAULT_PORTS = {"https": 443, "http": 80}


class BadUrl(ValueError):
    """A URL that is not sent to; the message is fit for the page."""


@dataclass(frozen=True)
class Target:
    """Where a URL leads. ``host`` is a name or an address without brackets; ``path`` holds the query."""

    scheme: str
    host: str
    port: int
    path: str


def read_url(url: str) -> Target:
    """The parts of an endpoint's URL. Raises BadUrl, saying what to mend.

    https alone in production; ports 443 (in demo mode http and 80 too) and 1024 to 65535: services of operating systems, as SSH and
    mail, stand below.
    """
    if not url or len(url) > LONGEST:
        raise BadUrl(_("Give the URL of your receiver, of %(most)d characters at most.") % {"most": LONGEST})
    if not _VISIBLE_ASCII.fullmatch(url) or "\\" in url:
        raise BadUrl(
            _(
                "The URL holds a space, a backslash or a letter outside ASCII. Percent-encode those in the path, "
                "and write the host in its xn-- form."
            )
        )
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").lower()
    except ValueError:
        raise BadUrl(_("This is not a URL. Write one as https://example.com/webhooks.")) from None
    _check_scheme(parts.scheme)
    if "@" in parts.netloc:
        raise BadUrl(_("A user name or password in the URL is not sent. Take it out; the signature proves who is calling."))
    if "#" in url:
        raise BadUrl(_("What stands behind # is never sent. Take it out of the URL."))
    _check_host(host)
    port = port if port is not None else _DEFAULT_PORTS[parts.scheme]
    if port < 1024 and port != _DEFAULT_PORTS[parts.scheme]:
        raise BadUrl(_("Port %(port)d is not sent to. Use 443, or one from 1024 to 65535.") % {"port": port})
    path = parts.path or "/"
    return Target(scheme=parts.scheme, host=host, port=port, path=f"{path}?{parts.query}" if parts.query else path)


def _check_scheme(scheme: str) -> None:
    if scheme == "https" or (scheme == "http" and not settings.PRODUCTION):
        return
    raise BadUrl(_("The URL must begin with https://."))


def _check_host(host: str) -> None:
    address = _address(host)
    if address is not None:
        if not may_be_sent_to(str(address), settings.WEBHOOK_PRIVATE_ADDRESSES):
            raise BadUrl(not_public(host))
        return
    if _LOOKS_NUMERIC.fullmatch(host) or ":" in host:
        raise BadUrl(_("Write the host as a name, or as an ordinary IP address like 198.0.2.1."))
    labels = host.removesuffix(".").split(".")
    if not host or len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadUrl(_("The URL's host is not a valid name. Write the URL as https://example.com/webhooks."))
    local = len(labels) == 1 or labels[-1] in {"localhost", "local", "internal"}
    if local and settings.WEBHOOK_PRIVATE_ADDRESSES == "off":
        raise BadUrl(not_public(host))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def not_public(host: str) -> str:
    """What a tenant is told. It names no address: what a name leads to in the portal's network is nobody's business."""
    return _("%(host)s does not lead to a public address. Webhooks are sent to public addresses alone.") % {"host": host}
