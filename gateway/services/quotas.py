"""Quotas: how many live offers and sessions an owner, and a group together, may hold.

Exact, also with several gateways on one database: what is held is counted in the transaction that
adds to it, while nobody else can add (``QuotaStore.keep``). Where no limit is set nothing is asked
of the database.
"""

import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.domain.permissions import Limits
from gateway.domain.reasons import ReasonCode, reason
from gateway.errors import OfferQuotaError, SessionQuotaError
from gateway.services.caller import Caller
from gateway.services.permissions import PermissionService
from gateway.stores.database import Database, Transaction
from gateway.stores.quotas import Held, Holder, QuotaStore

_OWN: Final = "Your account"


@dataclass(frozen=True, slots=True)
class Quota:
    """Against whose limits a request counts: the owner's own and those of groups together.

    The offers of the set that it ``replaces`` do not count: they are about to be let go of.
    """

    limits: tuple[tuple[Holder, Limits], ...]
    replaces: UUID | None = None

    def of_offers(self) -> list[tuple[Holder, int]]:
        """Who may hold how many live offers."""
        return [(one, said.offers) for one, said in self.limits if said.offers is not None]

    def of_sessions(self) -> list[tuple[Holder, int]]:
        """Who may have how many live sessions."""
        return [(one, said.sessions) for one, said in self.limits if said.sessions is not None]


@dataclass(frozen=True, slots=True)
class Room:
    """How many more offers may be held, None for any number; 0 with the refusal that says why."""

    left: int | None = None
    refusal: OfferQuotaError | None = None


class QuotaService:
    """Says how much more may be held, and refuses what is too much."""

    def __init__(
        self, database: Database, store: QuotaStore, permissions: PermissionService, clock: Clock
    ) -> None:
        self._database = database
        self._store = store
        self._permissions = permissions
        self._clock = clock

    def quota_of(self, caller: Caller, *, replaces: UUID | None = None) -> Quota | None:
        """The limits on what the caller holds; None where there are none.

        What the gateway itself does for an owner counts against nobody: it takes the place of
        something that was counted before.
        """
        if caller.is_stand_in:
            return None
        allowance = self._permissions.allowance_of(caller)
        limits = [(Holder(name, is_group=True), said) for name, said in allowance.shared]
        if allowance.limits and caller.owner is not None:
            limits.insert(0, (Holder(caller.owner), allowance.limits))
        return Quota(tuple(limits), replaces) if limits else None

    async def check_before_asking(self, quota: Quota | None, *, accepts: bool) -> int | None:
        """How many more offers may be held as of now; None for any number.

        Not binding, as others may ask at the same time: it spares nodes the holds that would have
        to be let go of. ``accepts``: the best offer is to be accepted at once.

        Raises
        ------
        OfferQuotaError, SessionQuotaError
            There is no room for one more.
        """
        if quota is None:
            return None
        async with self._database.snapshot() as reader:
            if accepts:
                await self._check_sessions(reader, quota)
            room = await self._room_for_offers(reader, quota)
        if room.refusal is not None:
            raise room.refusal
        return room.left

    async def room_for_offers(self, tx: Transaction, quota: Quota) -> Room:
        """How many offers this transaction may hand out; nobody else can until it is over."""
        await self._store.keep(tx, [holder for holder, _ in quota.of_offers()])
        return await self._room_for_offers(tx, quota)

    async def remember_groups(
        self, tx: Transaction, offerset: UUID, groups: AbstractSet[str]
    ) -> None:
        """Keep in which groups its owner asks for an offer set, for those that count by them."""
        if groups:
            await self._store.add_groups(tx, offerset, groups)

    async def groups_of(self, tx: Transaction, offerset: UUID) -> frozenset[str]:
        """The groups that were kept with an offer set."""
        return await self._store.groups_of(tx, offerset)

    async def check_session(self, tx: Transaction, caller: Caller) -> None:
        """Make sure that this transaction may begin to accept one more session of the caller's.

        Raises
        ------
        SessionQuotaError
            It may not.
        """
        quota = self.quota_of(caller)
        if quota is not None:
            await self._store.keep(tx, [holder for holder, _ in quota.of_sessions()])
            await self._check_sessions(tx, quota)

    async def _room_for_offers(self, tx: Transaction, quota: Quota) -> Room:
        now, room = self._clock.now(), Room()
        for holder, limit in quota.of_offers():
            held = await self._store.offers(tx, holder, now, besides=quota.replaces)
            if held.count >= limit:
                return Room(0, _too_many_offers(holder, held, limit, now))
            left = limit - held.count
            room = Room(left if room.left is None else min(room.left, left))
        return room

    async def _check_sessions(self, tx: Transaction, quota: Quota) -> None:
        for holder, limit in quota.of_sessions():
            held = await self._store.sessions(tx, holder)
            if held.count >= limit:
                why = reason(
                    ReasonCode.QUOTA_SESSIONS, holder=_named(holder), held=held.count, limit=limit
                )
                raise SessionQuotaError(why.to_document())


def _too_many_offers(holder: Holder, held: Held, limit: int, now: datetime) -> OfferQuotaError:
    why = reason(ReasonCode.QUOTA_OFFERS, holder=_named(holder), held=held.count, limit=limit)
    wait_s = None
    if held.soonest is not None:
        wait_s = max(1, math.ceil((held.soonest - now).total_seconds()))
    return OfferQuotaError(why.to_document(), wait_s)


def _named(holder: Holder) -> str:
    return f"Your group {holder.name}" if holder.is_group else _OWN
