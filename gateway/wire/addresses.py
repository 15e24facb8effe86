"""Which network addresses a stranger's URL may lead to. Pure.

Sources: the IANA special-purpose address registries, as `ipaddress` knows them; RFC 6052 (NAT64);
RFC 3056 (6to4); RFC 4380 (Teredo).
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

_NAT64: Final = IPv6Network("64:ff9b::/96")
_METADATA: Final = frozenset({ip_address("fd00:ec2::254"), ip_address("100.100.100.200")})
"""Metadata services of clouds at addresses that are not link-local, which give out credentials."""


def parse_address(text: str) -> Address | None:
    """The address that is written so, with or without zone; None if it is a name."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def is_allowed(address: Address, *, may_be_private: bool) -> bool:
    """Whether a stranger's URL may lead there.

    Link-local addresses (where clouds have their metadata services), multicast and "any address"
    never are: nothing to fetch from is there.
    """
    inner = _embedded(address)
    if inner is not None:
        return is_allowed(inner, may_be_private=may_be_private)
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    if address in _METADATA:
        return False
    return may_be_private or _is_public(address)


def _embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that packets to this address really go to."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    return address.teredo[1] if address.teredo is not None else None


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address.is_site_local:
        return False
    return address.is_global and not address.is_reserved
