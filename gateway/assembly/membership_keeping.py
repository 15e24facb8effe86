"""Keeps the gateway's own memberships in its database, for all its processes, sealed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final
from uuid import uuid4

import structlog
from tenacity import AsyncRetrying, RetryError, retry_if_result, stop_after_delay, wait_fixed

from gateway.clock import Clock
from gateway.errors import StoreUnavailableError
from gateway.httpkit.membership.challenge import Challenge
from gateway.httpkit.membership.client import REGISTER_S
from gateway.httpkit.membership.keeping import KeepingError
from gateway.sealing import BrokenSealError, Sealer
from gateway.stores.database import Database
from gateway.stores.memberships import MembershipStore, Turn
from gateway.wire.secret import Secret

TURN_S: Final = REGISTER_S + 5.0
"""How long a turn to register lasts at most: one registration, and the database before and after.
As long is waited for one."""

LOOK_EVERY_S: Final = 0.25
"""How often a process that waits for its turn looks: a registration takes some tens of ms."""

_AWAY: Final = "the database is away"

_log = structlog.stdlib.get_logger(__name__)


class SharedKeeping:
    """What one process keeps, so that any other of the same gateway can go on with it."""

    def __init__(
        self, database: Database, store: MembershipStore, sealer: Sealer, clock: Clock
    ) -> None:
        self._database = database
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._process = str(uuid4())

    async def credential(self, gateway: str) -> Secret | None:
        """What the gateway of this URL gave us; what another key has sealed is nothing."""
        try:
            async with self._database.reading() as tx:
                sealed = await self._store.credential(tx, gateway)
        except StoreUnavailableError as error:
            raise KeepingError(_AWAY) from error
        if sealed is None:
            return None
        try:
            return Secret(self._sealer.open(sealed, _context(gateway)).decode())
        except BrokenSealError as error:
            _log.warning("membership_credential_unreadable", gateway=gateway, reason=str(error))
            return None

    async def keep(self, gateway: str, credential: Secret) -> None:
        """Keep what it gave us."""
        sealed = self._sealer.seal(credential.reveal().encode(), _context(gateway))
        try:
            async with self._database.transaction() as tx:
                await self._store.keep(tx, gateway, sealed)
        except StoreUnavailableError as error:
            raise KeepingError(_AWAY) from error

    @asynccontextmanager
    async def registering(self, url: str) -> AsyncIterator[Challenge]:
        """Our turn, among all memberships of all processes."""
        challenge = Challenge.of(url)
        turn = Turn(url, self._sealer.seal(challenge.key, _context(url)))
        await self._take_turn(turn)
        try:
            yield challenge
        finally:
            await self._end_turn()

    async def _take_turn(self, turn: Turn) -> None:
        waiting = AsyncRetrying(
            retry=retry_if_result(lambda is_ours: not is_ours),
            stop=stop_after_delay(TURN_S),
            wait=wait_fixed(LOOK_EVERY_S),
        )
        try:
            await waiting(self._is_our_turn, turn)
        except RetryError as error:
            raise KeepingError("another process is registering, and does not end") from error
        except StoreUnavailableError as error:
            raise KeepingError(_AWAY) from error

    async def _is_our_turn(self, turn: Turn) -> bool:
        now = self._clock.now()
        until = now + timedelta(seconds=TURN_S)
        async with self._database.transaction() as tx:
            return await self._store.take_turn(tx, self._process, turn, now=now, until=until)

    async def _end_turn(self) -> None:
        try:
            async with self._database.transaction() as tx:
                await self._store.end_turn(tx, self._process)
        except StoreUnavailableError:
            # It ends by itself; what came of the registration is more than that.
            _log.warning("membership_turn_not_ended", until_s=TURN_S)

    async def open_challenge(self) -> Challenge | None:
        """That of the registration under way, whichever process it is of."""
        try:
            async with self._database.reading() as tx:
                turn = await self._store.turn(tx, self._clock.now())
        except StoreUnavailableError as error:
            raise KeepingError(_AWAY) from error
        if turn is None:
            return None
        try:
            return Challenge(turn.url, self._sealer.open(turn.key, _context(turn.url)))
        except BrokenSealError as error:
            raise KeepingError(str(error)) from error

    async def stay(self, for_s: float) -> None:
        """Note that this process goes on for so long at least."""
        now = self._clock.now()
        try:
            async with self._database.transaction() as tx:
                await self._store.stay(tx, self._process, now + timedelta(seconds=for_s))
                await self._store.forget_gone(tx, now)
        except StoreUnavailableError as error:
            raise KeepingError(_AWAY) from error

    async def is_last(self) -> bool:
        """Whether no other process renews any more."""
        try:
            async with self._database.transaction() as tx:
                return await self._store.go(tx, self._process, self._clock.now())
        except StoreUnavailableError as error:
            raise KeepingError(_AWAY) from error


def _context(url: str) -> str:
    return f"membership:{url}"
