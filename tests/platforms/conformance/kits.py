"""What the conformance suite must know of an adapter, and no more: its kit.

A kit says how each behaviour is put into a request, opens the platform over its directory, and
counts what is left of a job and how often it really ran.
"""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import ClassVar, Final
from uuid import UUID, uuid4

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.archive import Archive
from node_stub.clock import SystemClock
from node_stub.ledger import Amounts
from node_stub.platform_factory import SIMULATED_FILE
from node_stub.platforms.base import Platform
from node_stub.platforms.simulated import SimulatedPlatform, SimulatedSettings
from node_stub.rules import SiteRules
from tests.platforms.conformance.behaviours import EXIT_CODE, LOG_BYTES, LOG_LIMIT, Behaviour
from tests.platforms.conformance.witnesses import RESULTS_DIR, left_of, processes_of

GRACE_S: Final = 1.0
"""How long every platform here lets a job end by itself that is asked to."""

MOMENT_S: Final = 0.3
"""How long a job lasts that lasts a moment."""

WHILE_S: Final = 3.0
"""How long a job lasts that lasts a while: until after a broker has been started again."""

CAPACITY: Final = Amounts(cores=8, memory_gib=16, storage_gib=100)


class Kit(ABC):
    """One adapter, with its files in one directory.

    ``refuses`` is what it cannot enforce or knows to be impossible, and so must not offer.
    ``backstop_s`` is how long after its end a job is ended at the latest that no broker looks
    after; None where only a broker can do that. ``has_processes``: its jobs are processes
    of this machine, and say "started" when they are.
    """

    refuses: ClassVar[frozenset[Behaviour]] = frozenset()
    has_processes: ClassVar[bool] = True
    backstop_s: ClassVar[float | None] = None

    def __init__(self, data_dir: Path) -> None:
        self.data_dir: Final = data_dir
        self.mark: Final = uuid4().hex

    @property
    def rules(self) -> SiteRules:
        """What its site allows: everything."""
        return SiteRules(limits=CAPACITY)

    @property
    def archive(self) -> Archive:
        """What came out of its jobs."""
        return Archive(self.data_dir / RESULTS_DIR)

    @abstractmethod
    def sections(self) -> Document:
        """The sections of a node's settings that make it run this platform."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Platform]:
        """The platform, as a node has it that has just been started."""
        platform = self.platform()
        await platform.open()
        try:
            yield platform
        finally:
            await platform.close()

    @abstractmethod
    def platform(self) -> Platform:
        """A platform that is not open yet."""

    @abstractmethod
    def request(self, behaviour: Behaviour) -> Document:
        """A request for a job that behaves so."""

    @abstractmethod
    def slow_request(self, url: str) -> Document:
        """A request for a job that ends well, but is not ready before this URL gives its data."""

    @abstractmethod
    async def runs(self, session: UUID) -> int:
        """How often the job of a session has really been run."""

    def processes(self) -> list[str]:
        """The processes of its jobs, a line each."""
        return processes_of(self.mark)

    def left(self, *sessions: UUID) -> list[str]:
        """What is left of these jobs, a line each."""
        return left_of(sessions, self.mark, self.data_dir)


def request_for(executable: Document, **members: object) -> Document:
    """A request for this executable with little memory, for a minute."""
    compute = {"kind": kinds.SIMPLE_COMPUTE, "cores": {"min": 1, "max": 1}} | {
        "memory": {"min": 1, "max": 1}
    }
    schedule = {"requested": {"duration": "PT1M"}}
    return {"executable": executable, "compute": compute, "schedule": schedule, **members}


def data_at(url: str) -> Document:
    """Data at a URL."""
    return {"kind": kinds.SIMPLE_DATA, "meta": {"name": "input"}, "location": url}


_WISHES: Final[dict[Behaviour, dict[str, str]]] = {
    Behaviour.ENDS_WELL: {},
    Behaviour.ENDS_BADLY: {"SIMULATE_EXIT_CODE": str(EXIT_CODE)},
    Behaviour.LASTS_A_MOMENT: {"SIMULATE_RUN_S": str(MOMENT_S)},
    Behaviour.LASTS_A_WHILE: {"SIMULATE_RUN_S": str(WHILE_S)},
    Behaviour.LASTS: {"SIMULATE_RUN_S": "1000"},
    Behaviour.STOPS_SLOWLY: {"SIMULATE_RUN_S": "1000", "SIMULATE_STOP_S": str(GRACE_S / 3)},
    Behaviour.IS_STUBBORN: {"SIMULATE_RUN_S": "1000", "SIMULATE_STOP_S": "1000"},
    Behaviour.TAKES_TOO_MUCH_MEMORY: {"SIMULATE_END": "OOM"},
    Behaviour.WRITES_A_HUGE_LOG: {"SIMULATE_LOG_BYTES": str(LOG_BYTES)},
    Behaviour.HAS_A_BAD_COMMAND: {"SIMULATE_END": "LAUNCH"},
    Behaviour.HAS_A_BAD_IMAGE: {"SIMULATE_END": "IMAGE"},
    Behaviour.HAS_BAD_DATA: {"SIMULATE_END": "DATA"},
}


class SimulatedKit(Kit):
    """Pretends to do all that, where a request wishes so."""

    has_processes = False

    _QUICK: ClassVar[SimulatedSettings] = SimulatedSettings(
        prepare_s=0.05, run_s=0.05, release_s=0.05, grace_s=GRACE_S, log_bytes=LOG_LIMIT
    )

    def sections(self) -> Document:
        times = {"prepare_s": 0.05, "run_s": 0.05, "release_s": 0.05}
        return {"platform": {"type": "simulated", **times}}

    def platform(self) -> Platform:
        path = self.data_dir / SIMULATED_FILE
        return SimulatedPlatform(self._QUICK, path, SystemClock(), Random(1), self.archive)

    def request(self, behaviour: Behaviour) -> Document:
        return self._request(_WISHES[behaviour], data=[data_at("https://eb.test/data.dat")])

    def left(self, *sessions: UUID) -> list[str]:
        """Of the platform's own, too: the jobs in its file."""
        connection = sqlite3.connect(self.data_dir / SIMULATED_FILE)
        try:
            found = [row[0] for row in connection.execute("SELECT session FROM jobs")]
        finally:
            connection.close()
        jobs = [f"job {session}" for session in sessions if str(session) in found]
        return [*super().left(*sessions), *jobs]

    def slow_request(self, url: str) -> Document:
        """Nothing is really fetched: it takes its time."""
        return self._request({"SIMULATE_PREPARE_S": "2"}, data=[data_at(url)])

    def _request(self, wishes: dict[str, str], **members: object) -> Document:
        executable = {
            "kind": kinds.DOCKER_CONTAINER,
            "image": {"locations": ["eb.test/simulated:1"], "digest": "sha256:" + "0" * 64},
            "environment": wishes,
        }
        return request_for(executable, **members)

    async def runs(self, session: UUID) -> int:
        report = await self.archive.report(session)
        return int(report is not None and report.started is not None)
