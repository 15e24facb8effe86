"""A node that is slower than it usually is holds nobody up, unless the client wants to hear it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from gateway.domain.latency import FEWEST
from gateway.settings import AskingSettings, FederationSettings
from gateway.wire.documents import Document
from tests.support import faulty_nodes as nodes
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

STALL_S: Final = 1.5
"""Between the own limit, which is half a second at least, and the deadline."""

FEDERATION: Final = FederationSettings(deadline_s=10.0, connect_s=5.0, late_s=10.0)
ASKING: Final = AskingSettings(own_limit_floor_s=0.25)


@dataclass(slots=True)
class Moody:
    """Answers at once until it is told to stall."""

    stalls: bool = False

    async def behave(self, asked: nodes.Asked, writer: asyncio.StreamWriter) -> None:
        if self.stalls:
            await asyncio.sleep(STALL_S)
        await nodes.healthy(1)(asked, writer)


@asynccontextmanager
async def known_nodes(data_dir: Path) -> AsyncIterator[tuple[Moody, GatewayUnderTest]]:
    """Two nodes whose habits the gateway knows."""
    moody = Moody()
    async with nodes.running(nodes.healthy(1)) as alpha, nodes.running(moody.behave) as beta:
        urls = {"alpha": alpha.url, "beta": beta.url}
        async with running_gateway(urls, data_dir, federation=FEDERATION, asking=ASKING) as gateway:
            for _ in range(FEWEST):
                await gateway.ask(minimal_request())
            moody.stalls = True
            yield moody, gateway


def line_of(document: Document, node: str) -> Document:
    coverage: list[Document] = document["federation"]["coverage"]
    return next(line for line in coverage if line["node"] == node)


async def test_an_answer_goes_out_without_a_node_that_is_slower_than_usual(tmp_path: Path) -> None:
    async with known_nodes(tmp_path) as (_, gateway):
        answer = await gateway.ask(minimal_request())
        line = line_of(answer.document, "beta")
        assert (line["outcome"], line["reason"]["code"]) == ("late", "beyond_own_limit")
        assert int(line["reason"]["values"]["limit_ms"]) < STALL_S * 1000
        assert line["took_ms"] < STALL_S * 1000
        assert line_of(answer.document, "alpha")["outcome"] == "answered"

        async def is_taken_in() -> bool:
            now = await gateway.call("GET", answer.headers["Location"].removeprefix(gateway.url))
            return bool(line_of(now.document, "beta")["offers"] == 1)

        assert await eventually(is_taken_in, within_s=10)


@pytest.mark.parametrize("query", ["?require=beta", "?nodes=alpha,beta"])
async def test_a_node_that_the_client_names_is_waited_for(tmp_path: Path, query: str) -> None:
    async with known_nodes(tmp_path) as (_, gateway):
        answer = await gateway.ask(minimal_request(), query)
        assert line_of(answer.document, "beta")["outcome"] == "answered"


async def test_a_client_who_says_how_long_it_waits_is_taken_at_its_word(tmp_path: Path) -> None:
    async with known_nodes(tmp_path) as (_, gateway):
        answer = await gateway.ask(minimal_request(), Prefer="wait=10")
        assert line_of(answer.document, "beta")["outcome"] == "answered"


async def test_a_node_of_which_nothing_is_known_is_waited_for(tmp_path: Path) -> None:
    moody = Moody(stalls=True)
    async with nodes.running(nodes.healthy(1)) as alpha, nodes.running(moody.behave) as beta:
        urls = {"alpha": alpha.url, "beta": beta.url}
        async with running_gateway(urls, tmp_path, federation=FEDERATION, asking=ASKING) as gateway:
            answer = await gateway.ask(minimal_request())
    assert line_of(answer.document, "beta")["outcome"] == "answered"
