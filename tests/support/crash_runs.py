"""A gateway that can be killed at any of its steps, its nodes, and its stubborn client."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg  # type: ignore[import-untyped]  # it has no py.typed

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.config import FigureSettings, NodeSettings, OfferSettings
from node_stub.ledger import Amounts
from node_stub.rules import Figure
from tests.support.crash_campaign import PAUSE_S, SETTLED_S, Victim
from tests.support.crash_labels import Label
from tests.support.crashing import QUICK_SECTIONS, KillableGateway
from tests.support.gateway import Answer, GatewayUnderTest
from tests.support.lost_node import NEVER_RUNS, RUNS_ON
from tests.support.node import ADMIN, NodeClient, node_settings, running_node
from tests.support.nursery import Nursery
from tests.support.proxy import Proxy
from tests.support.requests import minimal_request
from tests.support.stores import SQLITE, store_of_this_test
from tests.support.waiting import eventually

SECTIONS: Final = QUICK_SECTIONS | {
    "sessions": QUICK_SECTIONS["sessions"]
    | {"read_deadline_s": 3.0, "update_deadline_s": 3.0, "resubmit_after_s": 1.0},
    "commands": QUICK_SECTIONS["commands"] | {"deadline_s": 1.0, "lease_s": 2.1},
    "health": {"probe_every_s": 0},
}
"""Nodes are not slow here, but the machine is, with so many runs."""

STRICT: Final = {"Prefer": "handling=strict"}
AGAIN_LATER: Final = ("/accept-pending", "/no-node-answered", "/store-unavailable")
"""The problems that ask a client to come again, as their types end."""


@dataclass(frozen=True, slots=True)
class Site:
    """A node that all runs share."""

    client: NodeClient
    data_dir: Path


def labelled_gateway(
    nursery: Nursery, nodes: Mapping[str, str], folder: Path, dies_at: Label | None
) -> Victim:
    """A gateway over these nodes, not started yet."""
    KillableGateway(nursery, nodes, folder, **SECTIONS)  # writes its settings
    environ = {"TEST_PASSWORD": ADMIN.password}
    return Victim(nursery, "tests.support.crash_gateway", folder, environ, dies_at)


@dataclass(slots=True)
class Run:
    """One gateway and its client, which remembers what it was told."""

    gateway: Victim
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
            assert answer.document["type"].endswith(AGAIN_LATER), answer.text
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

    async def move(self, uuid: str, phase: str, query: str = "", **headers: str) -> Answer:
        """Ask for another phase, and be told when that is refused."""
        update = {"kind": "uri:enum-value-update", "path": "phase", "value": phase}
        return await self.call("POST", f"/sessions/{uuid}{query}", update, **STRICT | headers)

    async def accept(
        self, offers: list[Document], chosen: str, query: str = "", **headers: str
    ) -> str:
        """Accept one: it is to complete, or the one that was accepted for it; that one's UUID."""
        answer = await self.move(chosen, "ACCEPTED", query, **headers)
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

    async def session(self, uuid: str) -> Document:
        """A session as the gateway shows it."""
        answer = await self.call("GET", f"/sessions/{uuid}")
        assert answer.status == 200, answer.text
        document: Document = answer.document
        return document

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What lies in the gateway's database."""
        url = store_of_this_test().url(self.folder)
        if url == SQLITE:
            with closing(sqlite3.connect(self.folder / "gateway.db")) as connection:
                return connection.execute(sql).fetchall()
        server = await asyncpg.connect(url)
        try:
            return [tuple(row) for row in await server.fetch(sql)]
        finally:
            await server.close()


async def _is_settled(client: GatewayUnderTest, path: str) -> bool:
    await asyncio.sleep(PAUSE_S)
    session = (await client.call("GET", path)).document
    return all(m["kind"] != "urn:command-pending" for m in session["meta"].get("messages", []))


PLATFORMS: Final = {"endless": RUNS_ON, "stuck": NEVER_RUNS}
"""Of the nodes that are not quick: what they run ends when it is cancelled, or never begins."""


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
    if name in PLATFORMS:
        return replace(settings, platform=PLATFORMS[name])
    return settings


@asynccontextmanager
async def running_sites(at: Path) -> AsyncIterator[dict[str, Site]]:
    """Two quick nodes, those of ``PLATFORMS``, and one whose offers expire soon."""
    async with AsyncExitStack() as stack:
        sites = {}
        for name in ("alpha", "beta", *PLATFORMS, "brief"):
            (at / name).mkdir()
            client = await stack.enter_async_context(running_node(at / name, settings_of(name)))
            client.auth = ADMIN
            sites[name] = Site(client, at / name)
        yield sites
