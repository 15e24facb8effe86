"""Connections to URLs that somebody else has named: only to addresses that may be reached so.

A host name is looked up once for a connection, every address that it has is checked, and the
socket is made only for one that passed. So a name that means something else the next time it is
looked up (DNS rebinding) gains nothing, and neither does an address written into the URL.
"""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.clients.exchange import USER_AGENT
from gateway.wire.addresses import is_allowed, parse_address


class AddressRefusedError(OSError):
    """A host that is at an address where nobody's URL may lead. An OSError: aiohttp passes these.

    ``host`` is as the URL writes it. The address is not told: it may be nobody's business.
    """

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} is at a private, local or reserved address")
        self.host = host


@dataclass(frozen=True, slots=True)
class AddressGuard:
    """Says which addresses may be connected to.

    ``may_be_private``: those of local networks and of this machine as well, for sites whose
    services have no public ones. Addresses of one link, where clouds have their metadata services,
    and those of groups never are.
    """

    may_be_private: bool = False

    def check(self, host: str, address: str) -> None:
        """Let an address of ``host`` pass.

        Raises
        ------
        AddressRefusedError
            It may not be connected to.
        """
        parsed = parse_address(address)
        if parsed is None or not is_allowed(parsed, may_be_private=self.may_be_private):
            raise AddressRefusedError(host)

    def make_socket(self, address: aiohttp.connector.AddrInfoType) -> socket.socket:
        """A socket to connect to an address, also to one that was never looked up.

        Raises
        ------
        AddressRefusedError
            It may not be connected to.
        """
        family, kind, protocol, _, where = address
        self.check(str(where[0]), str(where[0]))
        return socket.socket(family=family, type=kind, proto=protocol)


class GuardedResolver(AbstractResolver):
    """Looks up names of which every address may be connected to; closes the resolver it asks."""

    def __init__(self, guard: AddressGuard, inner: AbstractResolver) -> None:
        self._guard = guard
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name.

        Raises
        ------
        AddressRefusedError
            One of them may not be connected to: a name that has both sorts is up to no good.
        """
        found = await self._inner.resolve(host, port, family)
        for each in found:
            self._guard.check(host, each["host"])
        return found

    async def close(self) -> None:
        """Close the resolver below."""
        await self._inner.close()


@asynccontextmanager
async def guarded_session(
    guard: AddressGuard, resolver: AbstractResolver | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """A session for URLs of strangers.

    It keeps neither connections nor names, so that what was checked is what is used, and goes round
    every proxy that the environment names: that would do its own looking up. Redirects, deadlines
    and sizes are up to each call. ``resolver`` looks names up in place of the machine's own, and is
    closed with the session.
    """
    guarded = GuardedResolver(guard, resolver or aiohttp.ThreadedResolver())
    connector = aiohttp.TCPConnector(
        resolver=guarded, socket_factory=guard.make_socket, force_close=True, use_dns_cache=False
    )
    try:
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            trust_env=False,
        ) as session:
            yield session
    finally:
        await guarded.close()


def refusal_in(error: BaseException | None) -> AddressRefusedError | None:
    """The refused address that made a connection fail, if that is what it was."""
    while error is not None:
        if isinstance(error, AddressRefusedError):
            return error
        error = getattr(error, "os_error", None) or error.__cause__
    return None
