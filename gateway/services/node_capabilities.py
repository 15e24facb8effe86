"""Reading again what nodes say they can do. A duty of the background."""

import asyncio
from dataclasses import replace
from typing import Final

import structlog

from gateway.clients.proof import Found, Prover, ProvingError
from gateway.clock import Clock
from gateway.services.node_directory import NodeDirectory
from gateway.services.registry import NodeRegistry
from gateway.stores.database import Database
from gateway.stores.nodes import NodeStore

LOOK_S: Final = 30.0
"""How often to look for registered nodes whose capabilities another gateway was told to have
changed, or could not read."""

FIRST_LOOK_S: Final = 1.0
"""While a node of the settings has just been heard for the first time."""

AGAIN_S: Final = 300.0
"""How often a node of the settings is asked, which tells nobody when it changes."""

AT_ONCE: Final = 8

_log = structlog.stdlib.get_logger(__name__)


class CapabilityReading:
    """Reads the capabilities of registered nodes when they change, and of others now and then.

    ``prover`` reads from registered nodes, ``trusting`` from those of the settings, which may be
    anywhere; these are asked only if nodes are probed at all (``asks_configured``).
    """

    def __init__(
        self,
        *,
        database: Database,
        store: NodeStore,
        registry: NodeRegistry,
        directory: NodeDirectory,
        prover: Prover,
        trusting: Prover,
        clock: Clock,
        asks_configured: bool,
    ) -> None:
        self.wake = asyncio.Event()
        """Set when a node has said that its capabilities have changed."""
        self._database = database
        self._store = store
        self._registry = registry
        self._directory = directory
        self._prover = prover
        self._trusting = trusting
        self._clock = clock
        self._asks_configured = asks_configured
        self._due: dict[str, float] = {}

    async def run_due(self) -> float:
        """Read what is due; the seconds until this should run again."""
        async with self._database.reading() as reader:
            outdated = await self._store.outdated(reader)
        gate = asyncio.Semaphore(AT_ONCE)

        async def read_member(name: str, url: str, announced: str) -> None:
            async with gate:
                await self._read_member(name, url, announced)

        async def read_configured(name: str, url: str) -> None:
            async with gate:
                await self._read_configured(name, url)

        async with asyncio.TaskGroup() as group:
            for name, url, announced in outdated:
                group.create_task(read_member(name, url, announced))
            for name, url in self._configured_due():
                group.create_task(read_configured(name, url))
        if outdated:
            await self._directory.sync()
        return FIRST_LOOK_S if self._asks_configured and self._is_new_to_come() else LOOK_S

    def _configured_due(self) -> list[tuple[str, str]]:
        """Nodes of the settings that live, and were not asked for a while."""
        if not self._asks_configured:
            return []
        now = self._clock.monotonic()
        return [
            (node.name, node.profile.url)
            for node in self._registry
            if not node.profile.is_registered
            and node.is_probed
            and node.last_heard is not None
            and self._due.get(node.name, now) <= now
        ]

    def _is_new_to_come(self) -> bool:
        return any(
            not node.profile.is_registered and node.is_probed and node.name not in self._due
            for node in self._registry
        )

    async def _read_member(self, name: str, url: str, announced: str) -> None:
        try:
            found = await self._prover.capabilities(url)
        except ProvingError as error:
            _log.warning("node_capabilities_unreadable", node=name, why=str(error))
            return
        async with self._database.transaction() as tx:
            row = await self._store.find(tx, name, keep=True)
            if row is None or row.url != url:
                return
            # Under the digest that was announced: else one that does not match is read for ever.
            await self._store.save(tx, replace(row, capabilities=found.raw, digest=announced))
            await self._store.bump(tx)
        _log.info("node_capabilities_read", node=name)

    async def _read_configured(self, name: str, url: str) -> None:
        self._due[name] = self._clock.monotonic() + AGAIN_S
        found: Found | None
        try:
            found = await self._trusting.capabilities(url)
        except ProvingError:
            found = None  # plain Calycopis has none
        if name in self._registry:
            self._directory.note_capabilities(name, found.capabilities if found else None)
