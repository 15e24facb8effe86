"""Nodes stay, are changed, and leave."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from gateway.clock import Clock
from gateway.domain.registration import (
    MemberCause,
    MemberChange,
    NodeStanding,
    causes_of,
    overlay_of,
    patched,
)
from gateway.registration_errors import ConfiguredNodeError, NotForNodesError, UnknownMemberError
from gateway.services.node_capabilities import CapabilityReading
from gateway.services.node_directory import NodeDirectory
from gateway.services.registry import NodeRegistry, RegisteredNode
from gateway.stores.database import Database, Transaction
from gateway.stores.node_credentials import NodeCredentialStore, RegistrationTokenStore
from gateway.stores.nodes import NodeRow, NodeStore
from gateway.wire.documents import Document

OWN_MEMBERS: Final = frozenset({"draining", "site", "storage", "regions"})
"""What a node may change of itself; the rest is the administrator's."""

_STATES: Final = {
    MemberCause.DRAINED: NodeStanding.DRAINING,
    MemberCause.DISABLED: NodeStanding.DOWN,
    MemberCause.LEFT: NodeStanding.DOWN,
}
"""What a node comes to by a change; by all others it is up."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Renewed:
    """A lease that was renewed, and until when."""

    node: RegisteredNode
    expires: datetime


async def note_causes(
    store: NodeStore, tx: Transaction, name: str, causes: Sequence[MemberCause], now: datetime
) -> None:
    """Keep what has become of a node, and tell all gateways; nothing for no causes."""
    for cause in causes:
        state = _STATES.get(cause, NodeStanding.UP)
        await store.add_change(tx, name, MemberChange(now, state, cause))
    if causes:
        await store.bump(tx)


class MembershipService:
    """Keeps who is in as they and the administrator say.

    What it changes is in the store before it is in the registry.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: NodeStore,
        tokens: RegistrationTokenStore,
        credentials: NodeCredentialStore,
        registry: NodeRegistry,
        directory: NodeDirectory,
        reading: CapabilityReading,
        clock: Clock,
    ) -> None:
        self._database = database
        self._store = store
        self._tokens = tokens
        self._credentials = credentials
        self._registry = registry
        self._directory = directory
        self._reading = reading
        self._clock = clock

    async def renew(self, name: str, *, announced: str | None, draining: bool | None) -> Renewed:
        """The node is there, with capabilities of this digest, and takes requests or not.

        Raises
        ------
        UnknownMemberError
            It is not registered, or no longer.
        """
        now = self._clock.now()
        async with self._database.transaction() as tx:
            row = await self._known(tx, name)
            new = replace(
                row,
                is_draining=row.is_draining if draining is None else draining,
                announced=row.announced if announced is None else announced,
            )
            await self._store.renew(
                tx, name, now=now, is_draining=new.is_draining, announced=new.announced
            )
            if row.token is not None:
                await self._tokens.delete(tx, UUID(row.token))
            causes = _causes_of_renewal(row, new)
            await note_causes(self._store, tx, name, causes, now)
        if new.announced != row.digest:
            self._reading.wake.set()
        if causes or name not in self._registry:
            await self._directory.sync()
        return Renewed(self._member(name), self._directory.ends_of(now))

    async def leave(self, name: str, *, forget: bool = False) -> None:
        """End a registration; with ``forget`` its credential holds no more.

        Raises
        ------
        ConfiguredNodeError, UnknownMemberError
            There is no registration to end.
        """
        if name in self._directory.configured:
            raise ConfiguredNodeError(name)
        now = self._clock.now()
        async with self._database.transaction() as tx:
            row = await self._store.find(tx, name, keep=True)
            if row is None:
                raise UnknownMemberError(name)
            if forget:
                await self._credentials.revoke(tx, name)
            if row.left_at is None:
                await self._store.save(tx, replace(row, left_at=now, token=None))
                await note_causes(self._store, tx, name, [MemberCause.LEFT], now)
        await self._directory.sync()
        _log.info("node_left", node=name, forget=forget)

    async def change(self, name: str, patch: Document) -> RegisteredNode:
        """Change a node for the administrator, by a merge patch (RFC 7396).

        Raises
        ------
        UnknownMemberError
        """
        if name not in self._registry:
            await self._directory.sync()
        now = self._clock.now()
        async with self._database.transaction() as tx:
            if name not in self._directory.configured:
                await self._known(tx, name)
            before = await self._store.overlay(tx, name)
            after = patched(before, patch)
            if after != before:
                await self._store.save_overlay(tx, name, after)
                await note_causes(
                    self._store, tx, name, causes_of(overlay_of(before), overlay_of(after)), now
                )
                await self._store.bump(tx)
        await self._directory.sync()
        _log.info("node_changed", node=name, members=sorted(patch))
        return self._member(name)

    async def change_own(self, name: str, patch: Document) -> RegisteredNode:
        """Change what the node says of itself.

        Raises
        ------
        NotForNodesError
            Something in it is the administrator's to change.
        UnknownMemberError
        """
        strange = sorted(patch.keys() - OWN_MEMBERS)
        if strange:
            raise NotForNodesError(strange)
        now = self._clock.now()
        said = {member: value for member, value in patch.items() if member != "draining"}
        async with self._database.transaction() as tx:
            row = await self._known(tx, name)
            new = replace(
                row,
                declared=patched(row.declared, said),
                is_draining=bool(patch.get("draining", row.is_draining)),
            )
            if new != row:
                await self._store.save(tx, new)
                await note_causes(self._store, tx, name, _causes_of_draining(row, new), now)
                await self._store.bump(tx)
        await self._directory.sync()
        return self._member(name)

    async def _known(self, tx: Transaction, name: str) -> NodeRow:
        row = await self._store.find(tx, name, keep=True)
        if row is None or row.left_at is not None:
            raise UnknownMemberError(name)
        return row

    def _member(self, name: str) -> RegisteredNode:
        try:
            return self._registry.get(name)
        except KeyError as error:  # it was removed a moment ago
            raise UnknownMemberError(name) from error


def _causes_of_draining(before: NodeRow, after: NodeRow) -> list[MemberCause]:
    if before.is_draining is after.is_draining:
        return []
    return [MemberCause.DRAINED if after.is_draining else MemberCause.RESUMED]


def _causes_of_renewal(before: NodeRow, after: NodeRow) -> list[MemberCause]:
    back = [] if before.silent_since is None else [MemberCause.RENEWED]
    return back + _causes_of_draining(before, after)
