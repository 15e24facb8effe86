"""A gateway over two nodes, one of them behind a network that can be broken."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from gateway.clock import SystemClock
from gateway.settings import CommandSettings, SessionSettings
from gateway.wire.documents import Document
from tests.support.crashing import ran_at
from tests.support.gateway import (
    Answer,
    GatewayUnderTest,
    running_gateway,
)
from tests.support.node import ADMIN, NodeClient, node_settings, running_node
from tests.support.proxy import Proxy, running_proxy
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

PATIENT: Final = SessionSettings(
    fresh_s=0.0, read_deadline_s=1.0, update_deadline_s=3.0, follow_s=60.0
)
LASTING: Final = CommandSettings(
    first_s=0.05, longest_s=0.2, deadline_s=0.5, lease_s=1.5, give_up_s=86_400.0
)
STRICT: Final = {"Prefer": "handling=strict"}


class TurnedClock(SystemClock):
    """The machine's clock, put forward or back as a test likes."""

    def __init__(self) -> None:
        self.shift = timedelta()

    def now(self) -> datetime:
        return super().now() + self.shift


class Pair:
    """A gateway over two nodes, alpha behind a breakable network."""

    def __init__(
        self, gateway: GatewayUnderTest, alpha: NodeClient, proxy: Proxy, beta: NodeClient, at: Path
    ) -> None:
        self.gateway = gateway
        self.alpha = alpha
        self.proxy = proxy
        self.beta = beta
        self.database = at / "gateway" / "gateway.db"
        self._at = at

    async def offers(self, query: str = "?per_node=1", **headers: str) -> dict[str, Document]:
        """The best offer of each node."""
        answer = await self.gateway.ask(minimal_request(), query, **headers)
        assert answer.status == 303, answer.text
        best: dict[str, Document] = {}
        for offer in answer.document["offers"]:
            best.setdefault(offer["federation"]["node"], offer)
        return best

    async def accept(self, offer: Document) -> Answer:
        return await self.gateway.move(offer["meta"]["uuid"], "ACCEPTED", **STRICT)

    async def becomes(self, offer: Document, *phases: str) -> None:
        async def look() -> bool:
            return (await self.gateway.read(offer["meta"]["uuid"]))["phase"] in phases

        await eventually(look, 8)

    async def becomes_at_alpha(self, offer: Document, *phases: str) -> None:
        async def look() -> bool:
            return (await self.alpha.session(offer["meta"]["uuid"]))["phase"] in phases

        await eventually(look, 8)

    def ran(self) -> set[str]:
        return ran_at(self._at / "alpha") | ran_at(self._at / "beta")


@asynccontextmanager
async def pair(
    at: Path, *, alpha_changes: Document | None = None, **settings: Any
) -> AsyncIterator[Pair]:
    for name in ("alpha", "beta"):
        (at / name).mkdir()
    async with (
        running_node(at / "alpha", node_settings(name="alpha", **alpha_changes or {})) as alpha,
        running_node(at / "beta", node_settings(name="beta")) as beta,
        running_proxy(alpha.url) as proxy,
        running_gateway({"alpha": proxy.url, "beta": beta.url}, at / "gateway", **settings) as it,
    ):
        alpha.auth = beta.auth = ADMIN
        yield Pair(it, alpha, proxy, beta, at)
