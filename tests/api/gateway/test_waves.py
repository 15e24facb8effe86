"""A thousand nodes are not asked what ten can answer, and nobody is left out of the answer."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from gateway.settings import AskingSettings, FederationSettings
from gateway.wire.documents import Document
from tests.support import faulty_nodes as nodes
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.requests import minimal_request

MANY: Final = 1000
ASKING: Final = AskingSettings(all_up_to=64, wave_size=16, wave_explored=2, max_holds=256)
FEDERATION: Final = FederationSettings(deadline_s=10.0, late_s=1.0)


class Site:
    """A thousand node brokers behind one port, told apart by the first part of the path."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.mute: frozenset[str] = frozenset()
        """Those that never have anything to offer."""

    async def behave(self, asked: nodes.Asked, writer: asyncio.StreamWriter) -> None:
        name, _, path = asked.path.lstrip("/").partition("/")
        if not path.startswith("requests"):
            writer.write(nodes.http_reply(b"", status="404 Not Found"))
            return
        self.asked[name] += 1
        offers = 0 if name in self.mute else 2
        writer.write(nodes.http_reply(nodes.healthy_answer(offers)))


@asynccontextmanager
async def many(
    data_dir: Path, asking: AskingSettings = ASKING
) -> AsyncIterator[tuple[Site, GatewayUnderTest]]:
    site = Site()
    async with nodes.running(site.behave) as server:
        urls = {f"n{number:04}": f"{server.url}/n{number:04}" for number in range(MANY)}
        async with running_gateway(urls, data_dir, asking=asking, federation=FEDERATION) as gateway:
            yield site, gateway


def reasons(document: Document) -> Counter[str]:
    """How often each reason stands in the coverage."""
    return Counter(
        entry["reason"]["code"] if entry["reason"] else entry["outcome"]
        for entry in document["federation"]["coverage"]
    )


async def test_of_a_thousand_nodes_as_many_are_asked_as_give_enough(tmp_path: Path) -> None:
    async with many(tmp_path) as (site, gateway):
        answer = await gateway.ask(minimal_request())
        assert answer.status == 303, answer.text
        assert len(answer.document["offers"]) == 10
        assert reasons(answer.document) == {"answered": 16, "not_needed": MANY - 16}
        assert sum(site.asked.values()) == 16
        said = [m for m in answer.document["meta"]["messages"] if "not_asked" in m["kind"]]
        assert len(said) == 1
        assert said[0]["values"]["nodes"] == str(MANY - 16)


async def test_the_search_widens_until_somebody_has_offers(tmp_path: Path) -> None:
    async with many(tmp_path) as (site, gateway):
        site.mute = frozenset(f"n{number:04}" for number in range(MANY) if number % 50)
        answer = await gateway.ask(minimal_request())
        assert answer.document["result"] == "YES"
        said = reasons(answer.document)
        assert said["answered"] >= 5
        assert sum(site.asked.values()) < MANY
        # Those who had offers are known now.
        site.asked.clear()
        answer = await gateway.ask(minimal_request())
        assert len(answer.document["offers"]) == 10
        assert sum(site.asked.values()) == 16


async def test_a_client_who_wants_more_offers_has_more_nodes_asked(tmp_path: Path) -> None:
    async with many(tmp_path) as (site, gateway):
        answer = await gateway.ask(minimal_request(), "?min_offers=60&limit=60")
        assert len(answer.document["offers"]) == 60
        assert sum(site.asked.values()) == 16 + 32


@pytest.mark.parametrize("parameter", ["require", "nodes"])
async def test_a_named_node_is_asked_whoever_else_is(tmp_path: Path, parameter: str) -> None:
    async with many(tmp_path) as (site, gateway):
        answer = await gateway.ask(minimal_request(), f"?{parameter}=n0999")
        assert answer.status == 303, answer.text
        assert site.asked["n0999"] == 1


async def test_what_is_held_for_one_request_is_bounded(tmp_path: Path) -> None:
    asking = AskingSettings(all_up_to=64, wave_size=16, wave_explored=2, max_holds=20)
    async with many(tmp_path, asking) as (site, gateway):
        answer = await gateway.ask(minimal_request(), "?limit=100")
        assert sum(site.asked.values()) == 10
        assert reasons(answer.document)["hold_limit"] == MANY - 10
