"""What an address in text form says of its client."""

from ipaddress import IPv4Address, IPv6Network, ip_address


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`, an address or a name."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def client_network(address: str) -> IPv4Address | IPv6Network:
    """Return the addresses that count as one client: an IPv4 address, or the /64 network of an IPv6 address.

    A client that has one IPv6 address usually has its whole /64. An IPv4 address written as IPv6 (::ffff:192.0.2.7)
    counts as IPv4. Raises ValueError if the text is no address.
    """
    parsed = ip_address(address)
    if isinstance(parsed, IPv4Address):
        return parsed
    return parsed.ipv4_mapped or IPv6Network((parsed, 64), strict=False)
