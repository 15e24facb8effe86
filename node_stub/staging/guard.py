"""Connections that lead only to allowed addresses, whatever names, records and redirects say.

A name is looked up once, and what is connected to is what was checked: the socket itself is made
only for an allowed address. So a name that resolves to something else the next time gains nothing.
"""

import socket
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from node_stub.staging.allowlist import UrlRules
from node_stub.staging.errors import RefusedError

DNS_CACHE_S: Final = 10
"""How long a looked-up name is believed: many files come from one host at once."""

MAX_CONNECTIONS: Final = 64
"""Connections of all transfers together; the number of transfers is bounded elsewhere."""


class AddressRefusedError(OSError):
    """An address that must not be connected to. An OSError, as aiohttp passes on only those."""

    def __init__(self, refusal: RefusedError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class GuardedResolver(AbstractResolver):
    """Gives only the allowed addresses of a name; closes the resolver that it asks."""

    def __init__(self, inner: AbstractResolver, rules: UrlRules) -> None:
        self._inner = inner
        self._rules = rules

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name.

        Raises
        ------
        AddressRefusedError
            It has none that is allowed.
        """
        allowed: list[ResolveResult] = []
        refusal: RefusedError | None = None
        for found in await self._inner.resolve(host, port, family):
            try:
                self._rules.check_address(host, found["host"])
            except RefusedError as error:
                refusal = error
            else:
                allowed.append(found)
        if refusal is not None and not allowed:
            raise AddressRefusedError(refusal)
        return allowed

    async def close(self) -> None:
        """Close the resolver below."""
        await self._inner.close()


def guarded_connector(rules: UrlRules, resolver: GuardedResolver) -> aiohttp.TCPConnector:
    """A connector that makes sockets only for allowed addresses; whoever asks for it closes it.

    It does not close the resolver.
    """

    def make_socket(address: aiohttp.connector.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, where = address
        try:
            rules.check_address(str(where[0]), str(where[0]))
        except RefusedError as error:
            raise AddressRefusedError(error) from error
        return socket.socket(family=family, type=kind, proto=protocol)

    return aiohttp.TCPConnector(
        resolver=resolver,
        socket_factory=make_socket,
        limit=MAX_CONNECTIONS,
        ttl_dns_cache=DNS_CACHE_S,
    )


def refusal_in(error: BaseException | None) -> RefusedError | None:
    """The refused address that made a connection fail, if that is what it was."""
    while error is not None:
        if isinstance(error, AddressRefusedError):
            return error.refusal
        error = getattr(error, "os_error", None) or error.__cause__
    return None
