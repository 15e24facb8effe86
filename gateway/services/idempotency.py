"""Idempotency keys: one key, owner and path is one request, also after a crash half-way."""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from gateway.clock import Clock
from gateway.errors import KeyReusedError, StoreUnavailableError
from gateway.services.keyed_locks import KeyedLocks
from gateway.stores.database import Database
from gateway.stores.idempotency import IdempotencyStore, KeyRow
from gateway.stores.offersets import OfferSetStore
from gateway.wire.problem import ProblemError


@dataclass(frozen=True, slots=True)
class Reservation:
    """The offer set that a request is, or was, answered with."""

    offerset: UUID
    is_answered: bool = False


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
        """
        if key is None:
            yield Reservation(self._mint())
            return
        async with self._locks.of((owner, path, key)):
            reservation = await self._reserve(key, path, owner, fingerprint)
            try:
                yield reservation
            except StoreUnavailableError:
                # Nodes may hold what could not be saved: whoever comes back gets just that.
                raise
            except ProblemError:
                if not reservation.is_answered:
                    async with self._database.transaction() as tx:
                        await self._keys.release(tx, reservation.offerset)
                raise

    async def settle(self, offerset: UUID, session: UUID) -> None:
        """Note the session that a direct request ends in."""
        async with self._database.transaction() as tx:
            await self._keys.settle(tx, offerset=offerset, session=session)

    async def settled(self, offerset: UUID) -> UUID | None:
        """The session that a direct request has ended in, if it has."""
        async with self._database.reading() as reader:
            return await self._keys.session_of(reader, offerset)

    async def _reserve(self, key: str, path: str, owner: str, fingerprint: bytes) -> Reservation:
        digest = hashlib.sha256(fingerprint).hexdigest()

        async def take() -> KeyRow:
            return await self._keys.reserve(
                tx,
                owner=owner,
                path=path,
                key=key,
                digest=digest,
                offerset=self._mint(),
                now=self._clock.now(),
            )

        async with self._database.transaction() as tx:
            row = await take()
            if row.digest != digest:
                raise KeyReusedError(key)
            found = await self._offersets.find(tx, row.offerset)
            if found is not None and not found.is_open:
                # It came to nothing, and the key would have been given back but for a crash.
                await self._keys.release(tx, row.offerset)
                row, found = await take(), None
        return Reservation(row.offerset, is_answered=found is not None)
