"""Which network addresses may be sent to. A tenant chooses the host, so whatever is not public is refused: the portal's own network,
cloud metadata, and every way to write such an address inside another one."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# IANA's special-purpose registry, and 6to4's relays.
_REFUSED_4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
# Only this part of IPv6 is given out to networks: IPv4-mapped, -compatible and -translated forms, NAT64, unique local, link-local,
# site-local and multicast addresses all stand outside of it.
_PUBLIC_6 = IPv6Network("2000::/3")
# Inside it: protocol assignments with Teredo, documentation, 6to4.
_REFUSED_6 = [IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")]

_LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
_PRIVATE = tuple(IPv4Network(network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))
_PRIVATE_6 = IPv6Network("fc00::/7")
# Answer with credentials or settings of the machine, and stand in ranges that a private network may use; Azure's looks like a public one.
_METADATA = {ip_address(text) for text in ("100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254")}


def may_be_sent_to(text: str, allowed: str) -> bool:
    """Whether this address, as the resolver wrote it, may be connected to. What is no address may not.

    ``allowed`` is settings.WEBHOOK_PRIVATE_ADDRESSES: beside public addresses none ("off"), this machine ("loopback", for laptops), or
    private networks too ("private", for receivers of the same company).
    """
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if address in _METADATA:
        return False
    if allowed in {"loopback", "private"} and any(address in network for network in _LOOPBACK):
        return True
    if allowed == "private" and (any(address in network for network in _PRIVATE) or address in _PRIVATE_6):
        return True
    return _is_public(address)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_4)
    if address.scope_id:
        return False
    return address in _PUBLIC_6 and not any(address in network for network in _REFUSED_6)
