"""PostgreSQL away under a gateway: stopped, or standing still so that nobody is even refused."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from gateway.settings import PostgresSettings
from gateway.wire.documents import Document
from tests.support.crashing import is_update_of
from tests.support.gateway import Answer
from tests.support.node import ALICE
from tests.support.pair import PATIENT, STRICT, Pair, pair
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.problems import problem
from tests.support.proxy import Moment
from tests.support.requests import minimal_request
from tests.support.waiting import eventually, until

IMPATIENT = PostgresSettings(connections=4, connect_s=0.5, command_s=0.5)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running_postgres() as own:
        yield own


@pytest.fixture
async def two(tmp_path: Path, server: PostgresServer) -> AsyncIterator[Pair]:
    async with pair(
        tmp_path, sessions=PATIENT, database=server.create_schema(), postgres=IMPATIENT
    ) as running:
        yield running


@asynccontextmanager
async def standing_still(server: PostgresServer) -> AsyncIterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


@asynccontextmanager
async def stopped(server: PostgresServer) -> AsyncIterator[None]:
    await asyncio.to_thread(server.stop)
    try:
        yield
    finally:
        server.start()


Away = Callable[[PostgresServer], AbstractAsyncContextManager[None]]
AWAY = pytest.mark.parametrize("away", [standing_still, stopped], ids=lambda one: one.__name__)


def assert_refused(answer: Answer) -> None:
    assert problem(answer, 503)["type"].endswith("store-unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def kinds_of(document: Document) -> set[str]:
    return {message["kind"] for message in document["meta"].get("messages", [])}


async def is_back(two: Pair) -> None:
    async def look() -> bool:
        return (await two.gateway.call("GET", "/readyz")).status == 200

    await eventually(look)


@AWAY
async def test_changes_are_refused_and_reads_are_of_what_was_last_known(
    two: Pair, server: PostgresServer, away: Away
) -> None:
    mine = await two.gateway.ask(minimal_request(), "?per_node=1", account=ALICE)
    offers = {offer["federation"]["node"]: offer for offer in mine.document["offers"]}
    alpha, beta = (offers[name]["meta"]["uuid"] for name in ("alpha", "beta"))
    known = await two.gateway.call("GET", f"/sessions/{alpha}", account=ALICE)
    async with away(server):
        assert_refused(await two.gateway.move(alpha, "ACCEPTED", account=ALICE))
        before = time.monotonic()
        assert_refused(await two.gateway.move(alpha, "ACCEPTED", account=ALICE, **STRICT))
        read = await two.gateway.call("GET", f"/sessions/{alpha}", account=ALICE)
        assert_refused(await two.gateway.call("GET", f"/sessions/{beta}", account=ALICE))
        assert (await two.gateway.call("GET", "/readyz")).status == 503
        assert (await two.gateway.call("GET", "/livez")).status == 200
        assert time.monotonic() - before < 3  # one of them tries, and the others know
        assert read.status == 200, read.text
        assert read.document["phase"] == known.document["phase"] == "OFFERED"
        assert "urn:database-away" in kinds_of(read.document)
        assert "urn:database-away" not in kinds_of(known.document)
    await is_back(two)
    answer = await two.gateway.move(alpha, "ACCEPTED", account=ALICE)
    assert answer.status == 200, answer.text
    await two.becomes(offers["alpha"], "COMPLETED")
    read = await two.gateway.call("GET", f"/sessions/{alpha}", account=ALICE)
    assert "urn:database-away" not in kinds_of(read.document)
    assert two.ran() == {alpha}


async def test_while_it_is_away_only_one_waits_to_find_out(
    two: Pair, server: PostgresServer
) -> None:
    uuid = (await two.offers())["alpha"]["meta"]["uuid"]
    async with standing_still(server):
        assert_refused(await two.gateway.move(uuid, "ACCEPTED"))
        before = time.monotonic()
        answers = await asyncio.gather(*(two.gateway.move(uuid, "ACCEPTED") for _ in range(40)))
        for answer in answers:
            assert_refused(answer)
        # One after the other they would take half a minute.
        assert time.monotonic() - before < 5
    await is_back(two)


@AWAY
async def test_an_acceptance_that_could_not_be_saved_comes_true_once(
    two: Pair, server: PostgresServer, away: Away
) -> None:
    offers = await two.offers()
    uuid = offers["alpha"]["meta"]["uuid"]
    gate = two.proxy.stop_at(Moment.ANSWERED, is_update_of(uuid))
    async with asyncio.TaskGroup() as group:
        call = group.create_task(two.accept(offers["alpha"]))
        await gate.reached.wait()
        async with away(server):
            gate.open()
            await until(call.done)
    assert_refused(call.result())
    await is_back(two)
    assert (await two.accept(offers["beta"])).status == 409
    await two.becomes(offers["alpha"], "COMPLETED")
    assert two.ran() == {uuid}


async def test_a_server_that_crashed_has_kept_what_was_promised(tmp_path: Path) -> None:
    with running_postgres(is_durable=True) as server:
        url = server.create_schema()
        async with pair(tmp_path, sessions=PATIENT, database=url, postgres=IMPATIENT) as two:
            offers = await two.offers()
            answer = await two.accept(offers["alpha"])
            assert answer.status == 200, answer.text
            await asyncio.to_thread(server.crash)
            server.start()
            await is_back(two)
            assert (await two.accept(offers["beta"])).status == 409
            await two.becomes(offers["alpha"], "COMPLETED")
            assert two.ran() == {offers["alpha"]["meta"]["uuid"]}
