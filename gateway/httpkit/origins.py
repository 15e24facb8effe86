"""From which address a request comes, also through proxies."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from aiohttp import hdrs, web

from gateway.httpkit.rate_settings import Network

TRUSTED_PROXIES: Final = web.AppKey("trusted_proxies", tuple[Network, ...])
"""Those whose ``X-Forwarded-For`` is believed."""

_MOST_HOPS: Final = 20
"""Proxies that are gone through: more than any real way has."""


def origin_of(request: web.Request) -> str | None:
    """The address that a request comes from, as far as it can be believed; None for no address.

    Each proxy writes down at the end whom it got the request from (RFC 7239 §5.2 says so of
    ``Forwarded``, and common proxies do it with ``X-Forwarded-For``). So the list is read from its
    end, as long as it was a trusted proxy that wrote; what stands before is anybody's claim.
    """
    trusted = request.app[TRUSTED_PROXIES]
    address = request.remote
    if not trusted or not _is_trusted(address, trusted):
        return address
    listed = ",".join(request.headers.getall(hdrs.X_FORWARDED_FOR, []))
    for entry in [part.strip() for part in listed.split(",")][: -_MOST_HOPS - 1 : -1]:
        named = _address(entry)
        if named is None:
            break
        address = str(named)
        if not _is_trusted(address, trusted):
            break
    return address


def _is_trusted(address: str | None, trusted: Sequence[Network]) -> bool:
    named = _address(address or "")
    return named is not None and any(named in network for network in trusted)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in a text: brackets and a port may stand around it, as some proxies write it."""
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
