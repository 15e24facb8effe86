"""Keeps the nodes that this process knows equal to those in the store. A duty of the background.

Several gateways share the store: each looks at its version every second, and takes in what another
has changed. A lease that ends is first marked in the store by whoever sees it; so all gateways say
the same of a node, and at the same time.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from gateway.clients.broker import BrokerClient
from gateway.clock import Clock
from gateway.domain.capabilities import Capabilities, CapabilitiesError, read_capabilities
from gateway.domain.node import NoCredentials, NodeProfile
from gateway.domain.registration import (
    NO_OVERLAY,
    Down,
    Lease,
    MemberCause,
    MemberChange,
    Membership,
    NodeStanding,
    Overlay,
    lease_ends,
    overlay_of,
)
from gateway.sealing import BrokenSealError
from gateway.services.node_credentials import CredentialBox
from gateway.services.registry import NodeRegistry
from gateway.settings import RegistrationSettings
from gateway.stores.database import Database
from gateway.stores.nodes import NodeRow, NodeStore, Watch
from gateway.wire.documents import from_json
from gateway.wire.phases import TERMINAL_SESSION_PHASES

LOOK_S: Final = 1.0
"""How often to look for what other gateways have changed: one row is read."""

BEAT_S: Final = 5.0
"""How often some gateway notes that leases are watched, unless leases are so short that a sixth of
one is less."""

BEATS_MISSED: Final = 3
"""After so many, nobody was there to whom a node could have renewed: leases get a grace."""

FORGET_EVERY_S: Final = 60.0

LEFT_FOR_S: Final = 600.0
"""A node that left is known for so long at least: later than any answer to an old request."""

_TERMINAL: Final = tuple(sorted(phase.value for phase in TERMINAL_SESSION_PHASES))

_log = structlog.stdlib.get_logger(__name__)


class NodeDirectory:
    """Puts into the registry what settings, registrations and administrators say.

    ``configured`` are the nodes of the settings file, by name. ``connect`` makes the client of a
    node.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: NodeStore,
        registry: NodeRegistry,
        configured: Mapping[str, NodeProfile],
        connect: Callable[[NodeProfile], BrokerClient],
        box: CredentialBox,
        clock: Clock,
        settings: RegistrationSettings,
    ) -> None:
        self.configured = configured
        self._database = database
        self._store = store
        self._registry = registry
        self._connect = connect
        self._box = box
        self._clock = clock
        self._settings = settings
        self._beat_s = min(BEAT_S, settings.lease_s / 6)
        self._lock = asyncio.Lock()
        self._version = -1
        self._watch = Watch()
        self._found: dict[str, Capabilities] = {}
        self._forgot: float | None = None
        self._shadowed: frozenset[str] = frozenset()
        self._unreadable: frozenset[str] = frozenset()

    async def run_due(self) -> float:
        """Take in what has changed, and see to leases; the seconds until this should run again."""
        await self.sync()
        async with self._lock:
            await self._keep_watch()
        if await self._end_leases():
            await self.sync()
        await self._forget_left()
        return min(LOOK_S, self._beat_s)

    async def sync(self) -> None:
        """Take in what has changed in the store, if anything has."""
        async with self._lock:
            async with self._database.reading() as reader:
                self._watch = await self._store.watch(reader)
            if self._watch.version == self._version:
                return
            async with self._database.snapshot() as reader:
                self._watch = await self._store.watch(reader)
                rows = await self._store.all(reader)
                overlays = await self._store.overlays(reader)
                changes = await self._store.changes(reader)
            self._apply(rows, {k: overlay_of(v) for k, v in overlays.items()}, changes)
            self._version = self._watch.version

    async def refresh_leases(self) -> None:
        """Learn when each node renewed last, for which alone nobody is told."""
        async with self._database.reading() as reader:
            renewals = await self._store.renewals(reader)
            self._watch = await self._store.watch(reader)
        for node in self._registry:
            lease, renewed = node.membership.lease, renewals.get(node.name)
            if lease is not None and renewed is not None and renewed > lease.renewed:
                lease = replace(lease, renewed=renewed, expires=self.ends_of(renewed))
                node.membership = replace(node.membership, lease=lease)

    def note_capabilities(self, name: str, capabilities: Capabilities | None) -> None:
        """What a node of the settings says it can do; None where it says nothing."""
        if capabilities is None:
            self._found.pop(name, None)
        else:
            self._found[name] = capabilities
        node = self._registry.get(name)
        self._put(
            replace(node.profile, identity=capabilities.identity if capabilities else None),
            replace(node.membership, capabilities=capabilities),
        )

    def _apply(
        self,
        rows: Iterable[NodeRow],
        overlays: Mapping[str, Overlay],
        changes: Mapping[str, tuple[MemberChange, ...]],
    ) -> None:
        wanted: dict[str, tuple[NodeProfile, Membership]] = {}
        for name, profile in self.configured.items():
            overlay, can = overlays.get(name, NO_OVERLAY), self._found.get(name)
            wanted[name] = (
                replace(overlay.over(profile), identity=can.identity if can else None),
                Membership(
                    is_draining=bool(overlay.draining),
                    capabilities=can,
                    changes=changes.get(name, ()),
                ),
            )
        members = {row.name: row for row in rows}
        self._tell_shadowed(frozenset(members.keys() & self.configured.keys()))
        for name in members.keys() - self.configured.keys():
            overlay = overlays.get(name, NO_OVERLAY)
            wanted[name] = self._member(members[name], overlay, changes.get(name, ()))
        for node in self._registry:
            if node.name not in wanted:
                self._registry.remove(node.name)
                _log.info("node_forgotten", node=node.name)
        for profile, membership in wanted.values():
            self._put(profile, membership)

    def _put(self, profile: NodeProfile, membership: Membership) -> None:
        if profile.name not in self._registry:
            node = self._registry.add(self._connect(profile))
            node.adopt(node.client, membership)
            return
        node = self._registry.get(profile.name)
        if (node.profile, node.membership) != (profile, membership):
            is_same = node.profile == profile
            node.adopt(node.client if is_same else self._connect(profile), membership)

    def _member(
        self, row: NodeRow, overlay: Overlay, changes: tuple[MemberChange, ...]
    ) -> tuple[NodeProfile, Membership]:
        declared, can = row.declared, self._capabilities_of(row)
        storage = declared.get("storage") or (can.storage if can else ())
        profile = NodeProfile(
            name=row.name,
            url=row.url,
            site=declared.get("site"),
            storage=tuple(storage),
            identity=can.identity if can else None,
            owners=frozenset(declared.get("owners", ())),
            groups=frozenset(declared.get("groups", ())),
            regions=tuple(declared.get("regions", ())),
            is_registered=True,
        )
        down, since = _down_of(row)
        try:
            credentials = self._box.take(row.name, row.credentials)
        except BrokenSealError:
            credentials = NoCredentials()
            down, since = (down, since) if down else (Down.SEALED, row.registered)
            if row.name not in self._unreadable:
                self._unreadable |= {row.name}
                _log.error("node_credentials_unreadable", node=row.name)
        lease = Lease(row.registrant, row.registered, row.renewed, self.ends_of(row.renewed))
        return (
            overlay.over(replace(profile, credentials=credentials)),
            Membership(
                is_draining=row.is_draining or bool(overlay.draining),
                down=down,
                down_since=since,
                lease=lease,
                capabilities=can,
                changes=changes,
            ),
        )

    def _capabilities_of(self, row: NodeRow) -> Capabilities | None:
        """What was read when it was saved, unless another version of this program read it."""
        try:
            return read_capabilities(from_json(row.capabilities))
        except CapabilitiesError as error:
            _log.warning("node_capabilities_unreadable", node=row.name, why=str(error))
            return None

    def _tell_shadowed(self, names: frozenset[str]) -> None:
        for name in sorted(names - self._shadowed):
            _log.warning("registered_node_shadowed_by_settings", node=name)
        self._shadowed = names

    def ends_of(self, renewed: datetime) -> datetime:
        """When a lease ends that was renewed last then."""
        return lease_ends(
            renewed,
            lease_s=self._settings.lease_s,
            watched_since=self._watch.began,
            grace_s=self._settings.restart_grace_s,
        )

    async def _keep_watch(self) -> None:
        """Note that leases are watched, where there are any; and since when without a gap."""
        if not any(node.profile.is_registered for node in self._registry):
            return
        now = self._clock.now()
        seen = self._watch.seen
        if seen is not None and 0 <= (now - seen).total_seconds() < self._beat_s:
            return
        async with self._database.transaction() as tx:
            watch = await self._store.watch(tx, keep=True)
            gap_s = BEATS_MISSED * self._beat_s
            began = watch.began
            if watch.seen is None or abs((now - watch.seen).total_seconds()) > gap_s:
                began = None
            if began is None:
                began = now
                _log.info("lease_watch_begins", grace_s=self._settings.restart_grace_s)
            await self._store.note_watch(tx, began=began, seen=now)
        self._watch = replace(self._watch, began=began, seen=now)

    async def _end_leases(self) -> bool:
        """Mark those whose lease is over, once it is sure by the store; whether there were any."""
        if not self._over():
            return False
        await self.refresh_leases()
        return any([await self._end_lease(name) for name in self._over()])

    def _over(self) -> list[str]:
        """Nodes whose lease is over as far as this process knows."""
        now = self._clock.now()
        return [
            node.name
            for node in self._registry
            if node.membership.lease is not None
            and node.membership.down in {None, Down.SEALED}
            and self.ends_of(node.membership.lease.renewed) <= now
        ]

    async def _end_lease(self, name: str) -> bool:
        now = self._clock.now()
        async with self._database.transaction() as tx:
            row = await self._store.find(tx, name, keep=True)
            if row is None or row.left_at is not None or row.silent_since is not None:
                return False
            ends = self.ends_of(row.renewed)
            if ends > now:
                return False
            await self._store.save(tx, replace(row, silent_since=ends))
            change = MemberChange(now, NodeStanding.DOWN, MemberCause.LEASE_EXPIRED)
            await self._store.add_change(tx, name, change)
            await self._store.bump(tx)
        _log.warning("node_lease_expired", node=name, renewed=row.renewed.isoformat())
        return True

    async def _forget_left(self) -> None:
        now = self._clock.monotonic()
        if self._forgot is not None and now - self._forgot < FORGET_EVERY_S:
            return
        self._forgot = now
        if not any(node.membership.down is Down.LEFT for node in self._registry):
            return
        before = self._clock.now() - timedelta(seconds=LEFT_FOR_S)
        async with self._database.transaction() as tx:
            if await self._store.forget_left(tx, before, _TERMINAL):
                await self._store.bump(tx)
        await self.sync()


def _down_of(row: NodeRow) -> tuple[Down | None, datetime | None]:
    if row.left_at is not None:
        return Down.LEFT, row.left_at
    if row.silent_since is not None:
        return Down.LEASE_EXPIRED, row.silent_since
    return None, None
