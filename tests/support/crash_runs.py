"""A gateway that can be killed at any of its steps, its nodes, and its stubborn client."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import aiohttp

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.config import FigureSettings, NodeSettings, OfferSettings
from node_stub.ledger import Amounts
from node_stub.platforms.simulated import JobStep, SimulatedSettings
from node_stub.rules import Figure
from tests.support.crash_labels import DIES_AT, LABELS, Label, read_label
from tests.support.crashing import QUICK_SECTIONS, KillableGateway
from tests.support.gateway import Answer, GatewayUnderTest
from tests.support.node import ADMIN, NodeClient, node_settings, running_node
from tests.support.nursery import EndedAtStartError, Nursery
from tests.support.proxy import Proxy
from tests.support.requests import minimal_request
from tests.support.waiting import eventually, until

PAUSE_S: Final = 0.05
"""Between two looks at all sessions of a run: the others need the machine, too."""

SETTLED_S: Final = 20.0
"""Everything has come to its end long before."""

SECTIONS: Final = QUICK_SECTIONS | {
    "sessions": QUICK_SECTIONS["sessions"] | {"read_deadline_s": 3.0, "update_deadline_s": 3.0},
    "commands": QUICK_SECTIONS["commands"] | {"deadline_s": 1.0, "lease_s": 2.1},
    "health": {"probe_every_s": 0},
}
"""Nodes are not slow here, but the machine is, with so many runs."""

STRICT: Final = {"Prefer": "handling=strict"}
RUNS_ON: Final = SimulatedSettings(
    prepare_s=0, run_s=0, release_s=0.01, hang=frozenset({JobStep.RUN})
)


@dataclass(frozen=True, slots=True)
class Site:
    """A node that all runs share."""

    client: NodeClient
    data_dir: Path


class LabelledGateway(KillableGateway):
    """A gateway that notes its steps, and the first time it is started dies at one of them."""

    def __init__(
        self, nursery: Nursery, nodes: Mapping[str, str], data_dir: Path, dies_at: Label | None
    ) -> None:
        super().__init__(nursery, nodes, data_dir, **SECTIONS)
        self._dies_at = dies_at
        self.starts = 0

    async def start(self) -> None:
        """Start it, also again, until it listens, at whatever port."""
        try:
            await self._start()
        except EndedAtStartError:
            if self._dies_at is None or self.starts > 1:
                raise
            await self._start()

    async def _start(self) -> None:
        self.starts += 1
        given = {"TEST_PASSWORD": ADMIN.password, LABELS: str(self._labels(self.starts))}
        if self._dies_at is not None and self.starts == 1:
            given[DIES_AT] = str(self._dies_at)
        self._child = await self._nursery.start(
            "tests.support.crash_labels", self._folder, "127.0.0.1:0", given
        )
        self.url = self._child.url

    async def revive(self) -> None:
        """Start it again: whoever could not reach it knows that it has ended."""
        assert self._child is not None
        await until(self._child.has_ended)
        assert self.starts == 1, (self._folder / "log").read_text()[-2000:]
        await self.start()

    def labels(self) -> list[Label]:
        """The steps of the first process, in order; the last is the one it died at."""
        return [read_label(line) for line in self._labels(1).read_text().splitlines()]

    def _labels(self, start: int) -> Path:
        return self._folder / f"labels.{start}"


@dataclass(slots=True)
class Run:
    """One gateway and its client, which remembers what it was told."""

    gateway: LabelledGateway
    sites: Mapping[str, Site]
    proxies: dict[str, Proxy]
    folder: Path
    http: aiohttp.ClientSession
    ends: dict[str, str] = field(default_factory=dict)
    """The phase that each session has to end in, by what the client was told."""

    async def call(self, method: str, path: str, document: Any = None, **headers: Any) -> Answer:
        """One call, and the same again where its answer was lost, or says to come back."""

        async def attempt() -> Answer | None:
            answer = await self._try(method, path, document, **headers)
            if answer.status != 503:
                return answer
            assert answer.document["type"].endswith("/accept-pending"), answer.text
            assert "Retry-After" in answer.headers
            await asyncio.sleep(PAUSE_S)
            return None

        answer = await eventually(attempt, SETTLED_S)
        assert answer is not None
        return answer

    async def _try(self, method: str, path: str, document: Any, **headers: Any) -> Answer:
        client = GatewayUnderTest(self.gateway.url, self.http)
        try:
            return await client.call(method, path, document, **headers)
        except aiohttp.ClientError:
            await self.gateway.revive()
        client.url = self.gateway.url
        if method == "POST" and path.startswith("/sessions/"):
            # What was saved comes true without the client: it asks again once nothing is pending.
            await eventually(lambda: _is_settled(client, path.partition("?")[0]), SETTLED_S)
        return await client.call(method, path, document, **headers)

    async def ask(self, nodes: str, path: str = "/requests", **headers: str) -> Document:
        """Offers of these nodes, or with another path the session."""
        answer = await self.call(
            "POST", f"{path}?per_node=1&nodes={nodes}", minimal_request(), **headers
        )
        assert answer.status == 303, answer.text
        document: Document = answer.document
        return document

    async def move(self, uuid: str, phase: str, query: str = "") -> Answer:
        """Ask for another phase, and be told when that is refused."""
        update = {"kind": "uri:enum-value-update", "path": "phase", "value": phase}
        return await self.call("POST", f"/sessions/{uuid}{query}", update, **STRICT)

    async def accept(self, offers: list[Document], chosen: str, query: str = "") -> str:
        """Accept one: it is to complete, or the one that was accepted for it; that one's UUID."""
        answer = await self.move(chosen, "ACCEPTED", query)
        assert answer.status == 200, answer.text
        accepted: str = answer.document["meta"]["uuid"]
        assert query or accepted == chosen
        for offer in offers:
            self.ends[offer["meta"]["uuid"]] = "REJECTED"
        self.ends[accepted] = "COMPLETED"
        return accepted

    async def withdraw(self, offer: Document) -> None:
        """Have the node take its offer back."""
        node = self.sites[offer["federation"]["node"]].client
        answer = await node.update(offer["meta"]["uuid"], "REJECTED")
        assert answer.document["phase"] == "REJECTED"

    async def phase(self, uuid: str) -> str:
        """Of a session, as the gateway shows it."""
        answer = await self.call("GET", f"/sessions/{uuid}")
        assert answer.status == 200, answer.text
        phase: str = answer.document["phase"]
        return phase

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What lies in the gateway's database."""
        connection = sqlite3.connect(self.folder / "gateway.db")
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


async def _is_settled(client: GatewayUnderTest, path: str) -> bool:
    await asyncio.sleep(PAUSE_S)
    session = (await client.call("GET", path)).document
    return all(m["kind"] != "urn:command-pending" for m in session["meta"].get("messages", []))


def uuids_of(offerset: Document) -> list[str]:
    return [offer["meta"]["uuid"] for offer in offerset["offers"]]


def settings_of(name: str) -> NodeSettings:
    """Of a node with room for the sessions of all runs."""
    settings = node_settings(
        name=name,
        capacity=Amounts(cores=100_000, memory_gib=100_000, storage_gib=100_000),
        offers=OfferSettings(count=1, expires_s=300, min_expires_s=1),
        # Falling through compares costs: what is unknown may be more than was asked for.
        costs=FigureSettings(session=(Figure(kinds.MONETARY_COST, 0.1, 0.1),)),
    )
    if name == "brief":
        offers = OfferSettings(count=1, expires_s=3, min_expires_s=1)
        return replace(settings, offers=offers)
    return replace(settings, platform=RUNS_ON) if name == "endless" else settings


@asynccontextmanager
async def running_sites(at: Path) -> AsyncIterator[dict[str, Site]]:
    """Two quick nodes, one whose work only a cancel ends, and one whose offers expire soon."""
    async with AsyncExitStack() as stack:
        sites = {}
        for name in ("alpha", "beta", "endless", "brief"):
            (at / name).mkdir()
            client = await stack.enter_async_context(running_node(at / name, settings_of(name)))
            client.auth = ADMIN
            sites[name] = Site(client, at / name)
        yield sites
