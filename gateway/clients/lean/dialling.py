"""New connections: addresses tried side by side, certificates checked."""

import asyncio
import ssl
from typing import Final

import aiohappyeyeballs

from gateway.clients.addresses import AddressGuard
from gateway.clients.exchange import NodeTimeoutError, NodeUnreachableError, Stage
from gateway.clients.lean.asking import Origin
from gateway.clients.lean.connection import Connection, ConnectionKeeper
from gateway.clients.lean.names import Names
from gateway.clients.lean.receiving import ReceiveBuffer
from gateway.domain.reasons import ReasonCode

_NEXT_ADDRESS_S: Final = 0.25
"""Before the next address is tried beside the last (RFC 8305 section 5)."""


class Dialler:
    """Opens connections; ``tls`` says whose certificates are believed.

    ``guard`` says which addresses may be connected to; None: all.
    """

    def __init__(
        self, names: Names, tls: ssl.SSLContext, guard: AddressGuard | None = None
    ) -> None:
        self._names = names
        self._guard = guard
        self._tls = tls
        self._buffer = ReceiveBuffer()
        self._loop = asyncio.get_running_loop()

    async def dial(self, origin: Origin, keeper: ConnectionKeeper, until: float) -> Connection:
        """A new connection, known to ``keeper``; ``until`` is event loop time.

        Raises
        ------
        NodeUnreachableError, NodeTimeoutError
            There is none.
        """
        try:
            async with asyncio.timeout_at(until):
                return await self._dial(origin, keeper)
        except TimeoutError as error:
            raise NodeTimeoutError(Stage.CONNECT) from error

    async def _dial(self, origin: Origin, keeper: ConnectionKeeper) -> Connection:
        addresses = await self._names.addresses(origin.host, origin.port)
        try:
            if self._guard is not None:
                # Each time: a name may have come to mean something else since the last.
                for address in addresses:
                    self._guard.check(origin.host, str(address[4][0]))
            connected = await aiohappyeyeballs.start_connection(
                addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S
            )
            connection = Connection(keeper, connected, self._buffer)
            try:
                await self._loop.create_connection(
                    lambda: connection,
                    sock=connected,
                    ssl=self._tls if origin.is_tls else None,
                    server_hostname=origin.host if origin.is_tls else None,
                )
            except BaseException:
                # uvloop may open it all the same when whoever waits for it has gone.
                connection.abort()
                raise
        except TimeoutError:
            raise
        except ssl.SSLError as error:
            raise NodeUnreachableError(ReasonCode.TLS_FAILED) from error
        except OSError as error:
            self._names.doubt(origin.host, origin.port)
            raise NodeUnreachableError.from_system(error) from error
        keeper.admit(connection)
        return connection
