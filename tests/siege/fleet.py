"""Several gateways on one PostgreSQL over real nodes, each a process of its own."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import aiohttp

from gateway.wire.documents import Document
from gateway.wire.phases import SessionPhase
from tests.soak.judging import PENDING, UNDERWAY, Row, node_sessions
from tests.soak.programs import Program, free_port
from tests.soak.world import NODES, SECTIONS, gateway_program, node_program
from tests.support.nursery import running_nursery
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.waiting import eventually

REPLICAS: Final = ("one", "two")

READY_S: Final = 30.0
"""Within this a gateway is ready again after its database came back."""

POSTGRES: Final[Document] = {"connections": 10, "connect_s": 2.0, "command_s": 3.0}
"""As the defaults, with less patience, so that most of a short outage is spent knowing of it."""

HELD: Final = frozenset({SessionPhase.OFFERED.value, *UNDERWAY})
"""Phases in which a node holds something for a session."""


@dataclass(slots=True)
class Replica:
    """One of the gateways. ``deaths`` counts its own, ``is_up`` says whether it can be called."""

    program: Program
    is_up: bool = True
    deaths: int = 0

    @property
    def pid(self) -> int:
        """Its process."""
        return self.program.pid

    async def kill(self) -> None:
        """End it as a power cut would."""
        self.is_up = False
        self.deaths += 1
        await self.program.kill()

    async def restart(self) -> None:
        """Bring it back, on the same port."""
        await self.program.serve()
        self.is_up = True


@dataclass(slots=True)
class Fleet:
    """All of it, running.

    ``outages`` counts those of the database, ``is_away`` says whether there is one: from before it
    stands still until every gateway is ready again. ``is_still`` is only while it stands still.
    """

    server: PostgresServer
    database: str
    nodes: tuple[Program, ...]
    replicas: tuple[Replica, ...]
    outages: int = 0
    is_away: bool = False
    is_still: bool = False

    async def pause_database(self, seconds: float) -> None:
        """Let the database stand still for so long; returns when every gateway is ready again."""
        self.outages += 1
        self.is_away = True
        self.server.pause()
        try:
            self.is_still = True
            await asyncio.sleep(seconds)
        finally:
            self.is_still = False
            self.server.resume()
        await eventually(self._are_ready, READY_S)
        self.is_away = False

    def sessions(self) -> dict[str, Row]:
        """Every session that the gateways know."""
        text = self.server.ask(
            "SELECT uuid, offerset, phase, node FROM sessions", database=self.database
        )
        rows = (Row(*line.split("|")) for line in text.splitlines())
        return {row.uuid: row for row in rows}

    def pending(self) -> int:
        """How many commands are not delivered, those to let go of holds included."""
        return int(self.server.ask(PENDING, database=self.database))

    def wanted(self) -> dict[str, set[str]]:
        """By node, the sessions that it should hold something for: live offers and sessions."""
        found: dict[str, set[str]] = {node.folder.name: set() for node in self.nodes}
        for row in self.sessions().values():
            if row.phase in HELD:
                found[row.node].add(row.uuid)
        return found

    def held(self) -> dict[str, set[str]]:
        """By node, the sessions that it does hold something for."""
        return {
            node.folder.name: {
                row.uuid for row in node_sessions(node.folder).values() if row.phase in HELD
            }
            for node in self.nodes
        }

    async def _are_ready(self) -> bool:
        async with aiohttp.ClientSession() as http:
            for replica in self.replicas:
                async with http.get(f"{replica.program.url}/readyz") as answer:
                    if answer.status != 200:
                        return False
        return True


@asynccontextmanager
async def running_fleet(
    data_dir: Path,
    random: Random,
    *,
    names: Sequence[str] = REPLICAS,
    arguments: Sequence[str] = (),
    **sections: Any,
) -> AsyncIterator[Fleet]:
    """All of it, started; killed at the end. The gateways have these names.

    ``arguments`` are of their command ``serve``, ``sections`` are settings.
    """
    with running_postgres() as server, running_nursery() as nursery:
        url = server.create_database()
        nodes = tuple(node_program(nursery, data_dir / name, free_port(random)) for name in NODES)
        settings = SECTIONS | {"database": url, "postgres": POSTGRES} | sections
        gateways = tuple(
            gateway_program(nursery, data_dir / name, free_port(random), nodes, **settings)
            for name in names
        )
        async with AsyncExitStack() as stack:
            for program in (*nodes, *gateways):
                stack.push_async_callback(program.kill)
                await program.serve(*(arguments if program in gateways else ()))
            replicas = tuple(Replica(program) for program in gateways)
            yield Fleet(server, url.rpartition("/")[2], nodes, replicas)
