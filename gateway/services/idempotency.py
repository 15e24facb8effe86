"""Idempotency keys: one key, owner and path is one request, also after a crash half-way.

Several gateways may share the database. Whoever answers the request of a key says so in its row,
and counts up there while it lives; the others wait, and take over from one that counts no more. One
that was only slow, and was taken over from, cannot save its answer: the offer set is there already.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.errors import AnsweredElsewhereError, KeyReusedError, StoreUnavailableError
from gateway.services.keyed_locks import KeyedLocks
from gateway.services.tasks import SupervisedTasks
from gateway.stores.database import Database, RowConflictError, Transaction
from gateway.stores.idempotency import IdempotencyStore, KeyRow
from gateway.stores.offersets import OfferSetStore
from gateway.wire.problem import ProblemError

BEAT_S: Final = 0.25
"""How often who answers a request shows that it lives."""

GONE_S: Final = 1.0
"""Who has not counted up for so long, by the waiting one's own clock, is gone: four beats. Clients
repeat a lost request within seconds, and the holds of the first last minutes."""

LOOK_S: Final = 0.1
"""How often to look whether another process is done; the database tells nobody."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """The offer set that a request is, or was, answered with."""

    offerset: UUID
    is_answered: bool = False


@dataclass(frozen=True, slots=True)
class _Request:
    """What a key stands for."""

    key: str
    path: str
    owner: str
    digest: str


@dataclass(frozen=True, slots=True)
class _Busy:
    """Another process answers the request; ``beats`` changes while it lives."""

    holder: UUID
    beats: int


class IdempotencyService:
    """Gives each request its offer set's UUID, and the same one to the same request again."""

    def __init__(
        self,
        database: Database,
        keys: IdempotencyStore,
        offersets: OfferSetStore,
        clock: Clock,
        mint: Callable[[], UUID],
    ) -> None:
        self._database = database
        self._keys = keys
        self._offersets = offersets
        self._clock = clock
        self._mint = mint
        self._locks = KeyedLocks()
        self._tasks = SupervisedTasks()
        self._self = mint()

    @asynccontextmanager
    async def reserving(
        self, *, key: str | None, path: str, owner: str, fingerprint: bytes
    ) -> AsyncIterator[Reservation]:
        """Hold the key while its request is answered; a failure gives it back.

        What was reserved before and never answered was cut short by a crash: it is begun again
        under the same UUID, so that nodes that honour keys give the same holds again.

        Raises
        ------
        KeyReusedError
            The key belongs to another request.
        AnsweredElsewhereError
            It was answered by another gateway, which took this one for gone.
        """
        if key is None:
            yield Reservation(self._mint())
            return
        request = _Request(key, path, owner, hashlib.sha256(fingerprint).hexdigest())
        async with self._locks.of((owner, path, key)):
            reservation = await self._taken(request)
            if reservation.is_answered:
                yield reservation
                return
            async with self._showing_life(reservation.offerset):
                try:
                    yield reservation
                except StoreUnavailableError:
                    # Nodes may hold what could not be saved: whoever comes back gets just that.
                    raise
                except RowConflictError as error:
                    raise AnsweredElsewhereError(key) from error
                except ProblemError:
                    async with self._database.transaction() as tx:
                        await self._keys.release(tx, reservation.offerset, self._self)
                    raise

    async def settle(self, offerset: UUID, session: UUID) -> None:
        """Note the session that a direct request ends in."""
        async with self._database.transaction() as tx:
            await self._keys.settle(tx, offerset=offerset, session=session)

    async def settled(self, offerset: UUID) -> UUID | None:
        """The session that a direct request has ended in, if it has."""
        async with self._database.reading() as reader:
            return await self._keys.session_of(reader, offerset)

    async def _taken(self, request: _Request) -> Reservation:
        """The key, once no other process answers its request; it ends as that one does."""
        last_seen: _Busy | None = None
        since = 0.0
        while True:
            is_gone = last_seen is not None and self._clock.monotonic() - since >= GONE_S
            found = await self._reserve(request, last_seen if is_gone else None)
            if isinstance(found, Reservation):
                return found
            if found != last_seen:
                last_seen, since = found, self._clock.monotonic()
            await asyncio.sleep(LOOK_S)

    async def _reserve(self, request: _Request, gone: _Busy | None) -> Reservation | _Busy:
        """The key for this process, unless another one answers that is not known to be ``gone``."""
        async with self._database.transaction() as tx:
            row = await self._take(tx, request)
            if row.digest != request.digest:
                raise KeyReusedError(request.key)
            found = await self._offersets.find(tx, row.offerset)
            if found is not None and found.is_open:
                return Reservation(row.offerset, is_answered=True)
            if row.holder is not None and row.holder != self._self:
                busy = _Busy(row.holder, row.beats)
                if busy != gone:
                    return busy
            await self._keys.hold(tx, row.offerset, self._self)
            if found is not None:
                # It came to nothing, and the key would have been given back but for a crash.
                await self._keys.release(tx, row.offerset, self._self)
                row = await self._take(tx, request)
        return Reservation(row.offerset)

    async def _take(self, tx: Transaction, request: _Request) -> KeyRow:
        return await self._keys.reserve(
            tx,
            owner=request.owner,
            path=request.path,
            key=request.key,
            digest=request.digest,
            offerset=self._mint(),
            holder=self._self,
            now=self._clock.now(),
        )

    @asynccontextmanager
    async def _showing_life(self, offerset: UUID) -> AsyncIterator[None]:
        task = self._tasks.spawn(self._beat(offerset), name="beat")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _beat(self, offerset: UUID) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                async with self._database.transaction() as tx:
                    await self._keys.beat(tx, offerset, self._self)
            except StoreUnavailableError:
                continue  # what this request itself meets there is what its client hears
