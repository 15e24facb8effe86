"""What host names mean: looked up once for all who ask, and remembered."""

import asyncio
import ipaddress
import socket
from dataclasses import dataclass, field
from typing import Final

from aiohappyeyeballs import AddrInfoType
from aiohttp.abc import AbstractResolver

from gateway.clients.exchange import NodeUnreachableError
from gateway.domain.reasons import ReasonCode

_PATIENCE_S: Final = 0.3
"""For a name whose last meaning is still known: a name server that lives needs a tenth of it."""


@dataclass(slots=True)
class _Meaning:
    """What a name meant last. ``lock`` is held by whoever looks it up."""

    until: float = 0.0
    addresses: list[AddrInfoType] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Names:
    """Remembers for ``cache_s`` what names mean; longer, while there is nobody who could say more.

    ``resolver`` is not owned.
    """

    def __init__(self, resolver: AbstractResolver, cache_s: float) -> None:
        self._resolver = resolver
        self._cache_s = cache_s
        self._loop = asyncio.get_running_loop()
        self._meanings: dict[tuple[str, int], _Meaning] = {}

    async def addresses(self, host: str, port: int) -> list[AddrInfoType]:
        """Where to connect to. Whoever calls has a deadline around it.

        Raises
        ------
        NodeUnreachableError
            The name means nothing.
        """
        if _is_address(host):
            return [_to_address(host, port)]
        meaning = self._meanings.setdefault((host, port), _Meaning())
        async with meaning.lock:
            if self._loop.time() >= meaning.until:
                await self._look_up(host, port, meaning)
        return meaning.addresses

    def doubt(self, host: str, port: int) -> None:
        """Nobody was reached there: look the name up again before it is used again."""
        if meaning := self._meanings.get((host, port)):
            meaning.until = 0.0

    async def _look_up(self, host: str, port: int, meaning: _Meaning) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S if meaning.addresses else None):
                found = await self._resolver.resolve(host, port, socket.AF_UNSPEC)
        except OSError as error:  # a timeout is one too
            if not meaning.addresses:
                raise NodeUnreachableError(ReasonCode.NAME_UNKNOWN) from error
        else:
            meaning.addresses = [_to_address(each["host"], each["port"]) for each in found]
        meaning.until = self._loop.time() + self._cache_s


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _to_address(host: str, port: int) -> AddrInfoType:
    if ":" in host:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)
