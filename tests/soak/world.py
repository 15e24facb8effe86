"""The federation under soak: a gateway, real nodes, and slots that misbehaving nodes come into."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any, Final

import yaml

from gateway.wire.documents import Document
from tests.soak.faults import Disturbance, What
from tests.soak.programs import PASSWORD_ENV, Program, free_port
from tests.support.node import ADMIN, process_config
from tests.support.nursery import Nursery, running_nursery

NODES: Final = ("alpha", "beta", "gamma")
SLOTS: Final = ("odd", "queer", "rum")

DEADLINE_S: Final = 1.5
"""Of a request, so that three hung nodes do not make the soak a wait for them."""

EXPIRES_S: Final = 8
"""Of offers: what a lost answer holds is free again soon after the end."""

RUN_S: Final = 0.3
"""Of a session, so that hundreds come to their end in a minute."""

SECTIONS: Final[Document] = {
    "database": "sqlite:///gateway.db",
    "federation": {"deadline_s": DEADLINE_S, "connect_s": 0.5, "late_s": 5.0},
    "sessions": {
        "fresh_s": 0.2,
        "read_deadline_s": 1.0,
        "update_deadline_s": 2.0,
        "follow_s": 1.0,
    },
    "commands": {"first_s": 0.1, "longest_s": 1.0, "deadline_s": 1.0, "lease_s": 3.0},
}
"""Settings of the gateway: as the defaults, but with less patience, as all here is short."""

HEALTHY: Final = "healthy"

TICK_S: Final = 0.05
"""How exactly the times of disturbances are kept."""


@dataclass(slots=True)
class World:
    """All of it, running. ``deaths`` counts those of the gateway, ``is_up`` says whether it is.

    ``up_s`` is how long it has been up since the traffic began, ``log`` what was disturbed.
    """

    gateway: Program
    nodes: tuple[Program, ...]
    slots: tuple[Program, ...]
    is_up: bool = True
    deaths: int = 0
    up_s: float = 0.0
    log: list[str] = field(default_factory=list)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        """The gateway's process."""
        return self.gateway.pid

    @property
    def database(self) -> Path:
        """The gateway's."""
        return self.gateway.folder / "gateway.db"

    async def live(self, seconds: float, plan: Sequence[Disturbance]) -> None:
        """Let the plan happen, each disturbance at its time; the gateway is up for so long.

        The time in which it is down does not count, however long a busy machine takes to start it.
        """
        waiting = deque(plan)
        async with asyncio.TaskGroup() as group:
            last = monotonic()
            while self.up_s < seconds:
                await asyncio.sleep(TICK_S)
                now = monotonic()
                self.up_s += now - last if self.is_up else 0.0
                last = now
                while waiting and waiting[0].at_s <= self.up_s:
                    group.create_task(self._suffer(waiting.popleft()))

    async def recover(self) -> None:
        """Bring everything back, with a well node in each slot."""
        for slot in self.slots:
            await slot.kill()
            await slot.start(misbehaving(HEALTHY))

    async def _suffer(self, it: Disturbance) -> None:
        """One disturbance; those that meet the same program wait for each other."""
        program = self._program(it)
        async with self._locks.setdefault(program.url, asyncio.Lock()):
            self.log.append(f"{self.up_s:7.1f} s  {it.what}: {program.folder.name} {it.behaviour}")
            if it.what is What.GATEWAY_DIES:
                self.is_up = False
                self.deaths += 1
            await (program.stop() if it.what is What.NODE_STOPS else program.kill())
            await asyncio.sleep(it.down_s)
            if it.what is What.NODE_MISBEHAVES:
                await program.start(misbehaving(it.behaviour))
            else:
                await program.serve()
            if it.what is What.GATEWAY_DIES:
                self.is_up = True

    def _program(self, it: Disturbance) -> Program:
        if it.what is What.GATEWAY_DIES:
            return self.gateway
        return (self.slots if it.what is What.NODE_MISBEHAVES else self.nodes)[it.which]


@asynccontextmanager
async def running_world(data_dir: Path, seed: int) -> AsyncIterator[World]:
    """All of it, started; killed at the end, if it still runs."""
    random = Random(seed)
    with running_nursery() as nursery:
        nodes = tuple(node_program(nursery, data_dir / name, free_port(random)) for name in NODES)
        slots = tuple(
            Program(nursery, "node_stub.__main__", data_dir / name, free_port(random))
            for name in SLOTS
        )
        gateway = gateway_program(
            nursery, data_dir / "gateway", free_port(random), (*nodes, *slots), **SECTIONS
        )
        async with AsyncExitStack() as stack:
            for program in (*nodes, *slots, gateway):
                stack.push_async_callback(program.kill)
            for program in (*nodes, gateway):
                await program.serve()
            for program in slots:
                await program.start(misbehaving(HEALTHY))
            yield World(gateway, nodes, slots)


def misbehaving(behaviour: str) -> list[str]:
    """The arguments of a node that behaves so."""
    return ["misbehave", "--as", behaviour]


def node_program(nursery: Nursery, folder: Path, port: int) -> Program:
    """A node with room for everybody, not started yet."""
    program = Program(nursery, "node_stub.__main__", folder, port)
    config = process_config(
        name=folder.name,
        capacity={"cores": 64, "memory_gib": 128, "storage_gib": 1000},
        offers={"count": 2, "step_s": 1, "expires_s": EXPIRES_S, "min_expires_s": 1},
        platform={"type": "simulated", "prepare_s": 0, "run_s": RUN_S, "release_s": 0.01},
    )
    (folder / "settings.yaml").write_text(yaml.safe_dump(config))
    return program


def gateway_program(
    nursery: Nursery, folder: Path, port: int, nodes: Sequence[Program], **sections: Any
) -> Program:
    """A gateway over these nodes, not started yet; ``sections`` are settings."""
    program = Program(nursery, "gateway.__main__", folder, port)
    account = {"username": ADMIN.login, "password_env": PASSWORD_ENV}
    listed = [
        {
            "name": node.folder.name,
            "url": node.url,
            "credentials": {"type": "basic", **account},
        }
        for node in nodes
    ]
    config = {"admin": account, "nodes": listed, **sections}
    (folder / "settings.yaml").write_text(yaml.safe_dump(config))
    return program
