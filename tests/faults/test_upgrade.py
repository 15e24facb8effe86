"""A gateway is upgraded while the one of the version before serves on the same database.

The old one is the program as it is; the next version is it with one more step of the schema.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from gateway.stores.migrations import MIGRATIONS
from tests.support.crashing import Federation, killable_federation
from tests.support.gateway import Answer, GatewayUnderTest
from tests.support.later_gateway import MIGRATES_S, OLDEST, ON_POSTGRES
from tests.support.node import ADMIN
from tests.support.nursery import Child, EndedAtStartError, Nursery
from tests.support.pair import STRICT
from tests.support.requests import minimal_request
from tests.support.stores import Store
from tests.support.waiting import until

LIVES_S: Final = 120
"""No offer here expires."""

LATER: Final = len(MIGRATIONS) + 1


@asynccontextmanager
async def later_gateway(
    nursery: Nursery, store: Store, data_dir: Path, **environ: str
) -> AsyncIterator[Child]:
    """The next version on the old one's data, once it serves."""
    given = {"TEST_PASSWORD": ADMIN.password} | environ
    if store.server is not None:
        given[ON_POSTGRES] = "yes"
    child = await nursery.start("tests.support.later_gateway", data_dir, "127.0.0.1:0", given)
    try:
        yield child
    finally:
        await child.kill()


class Traffic:
    """A client of the old gateway that asks, accepts and reads until it is told to end."""

    def __init__(self, federation: Federation) -> None:
        self.accepted: list[str] = []
        self.offered: list[str] = []
        self.kinds: Counter[str] = Counter()
        self.is_over = asyncio.Event()
        self._federation = federation

    async def run(self) -> None:
        """Go on until told to end."""
        client = self._federation.client
        while not self.is_over.is_set():
            answer = await client.ask(minimal_request(), "?per_node=1")
            self._count(answer)
            if answer.status != 303:
                continue
            uuids = [offer["meta"]["uuid"] for offer in answer.document["offers"]]
            self.offered += uuids
            moved = await client.move(uuids[0], "ACCEPTED", **STRICT)
            self._count(moved)
            if moved.status == 200:
                self.accepted.append(uuids[0])
            self._count(await client.call("GET", f"/sessions/{uuids[0]}"))

    def _count(self, answer: Answer) -> None:
        if answer.status < 400:
            self.kinds["well"] += 1
            return
        assert answer.headers["Content-Type"].startswith("application/problem+json"), answer
        assert "Retry-After" in answer.headers, answer
        self.kinds[answer.document["type"].rpartition("/")[2]] += 1


async def test_the_old_version_serves_while_the_next_one_migrates_and_after(
    nursery: Nursery, store_of_gateways: Store, tmp_path: Path
) -> None:
    data_dir = tmp_path / "gateway"
    loop = asyncio.get_running_loop()
    async with (
        killable_federation(nursery, tmp_path, expires_s=LIVES_S) as federation,
        aiohttp.ClientSession() as http,
    ):
        traffic = Traffic(federation)
        async with asyncio.TaskGroup() as group:
            group.create_task(traffic.run())
            await until(lambda: traffic.kinds.total() > 0)
            before, began = traffic.kinds.total(), loop.time()
            async with later_gateway(nursery, store_of_gateways, data_dir) as child:
                took_s = loop.time() - began
                meanwhile = traffic.kinds.total() - before
                uuid = (await federation.client.ask(minimal_request())).document["offers"][0][
                    "meta"
                ]["uuid"]
                # What the old one offered the new one accepts, and the old one knows of it.
                later = GatewayUnderTest(child.url, http)
                assert (await later.move(uuid, "ACCEPTED", **STRICT)).status == 200
                assert (await federation.client.read(uuid))["phase"] != "OFFERED"
                traffic.is_over.set()
        assert took_s > MIGRATES_S / 2 or store_of_gateways.server is None
        assert set(traffic.kinds) <= {"well", "store-unavailable", "accept-pending"}
        assert meanwhile > 0
        told = [{"meta": {"uuid": one}} for one in [*traffic.offered, uuid]]
        last = await federation.comes_to_rest(told)
        completed = {one for one, phase in last.items() if phase == "COMPLETED"}
        assert completed >= {*traffic.accepted, uuid}
        assert federation.ran() == completed


async def test_an_older_version_refuses_a_schema_that_it_would_not_respect(
    nursery: Nursery, store_of_gateways: Store, tmp_path: Path
) -> None:
    data_dir = tmp_path / "gateway"
    async with killable_federation(nursery, tmp_path) as federation:
        await federation.gateway.kill()
        oldest = {OLDEST: str(LATER)}
        async with later_gateway(nursery, store_of_gateways, data_dir, **oldest):
            with pytest.raises(EndedAtStartError):
                await federation.gateway.start()
        said = (data_dir / "log").read_text()
        assert f"the database has schema version {LATER}, for programs of version {LATER}" in said
        assert "install a later one" in said
        assert "Traceback" not in said


async def test_a_version_back_is_served_by_a_schema_that_only_added(
    nursery: Nursery, store_of_gateways: Store, tmp_path: Path
) -> None:
    data_dir = tmp_path / "gateway"
    async with killable_federation(nursery, tmp_path, expires_s=LIVES_S) as federation:
        uuid = (await federation.client.ask(minimal_request())).document["offers"][0]["meta"][
            "uuid"
        ]
        await federation.gateway.kill()
        async with later_gateway(nursery, store_of_gateways, data_dir):
            pass
        await federation.restart()
        assert (await federation.client.move(uuid, "ACCEPTED", **STRICT)).status == 200
        last = await federation.comes_to_rest([{"meta": {"uuid": uuid}}])
        assert last == {uuid: "COMPLETED"}
