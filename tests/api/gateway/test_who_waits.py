"""Where there is more to do than can be done, only those wait their turn who may ask at all."""

import asyncio
from pathlib import Path

from gateway.api.audit import AUDIT
from gateway.httpkit.shedding import FEWEST
from gateway.httpkit.shedding_settings import SheddingSettings
from gateway.settings import FederationSettings
from tests.support.gateway import running_gateway
from tests.support.node import ALICE, NOBODY
from tests.support.requests import minimal_request
from tests.support.waiting import until

ONE_WAITS = SheddingSettings(start_heavy=FEWEST, low_lag_s=1e-9, max_waiting=1, max_wait_s=0.3)


async def test_strangers_take_no_turn_and_who_was_not_looked_at_leaves_no_trail(
    tmp_path: Path,
) -> None:
    asked: list[asyncio.StreamWriter] = []

    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(writer)

    node = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{node.sockets[0].getsockname()[1]}"
    federation = FederationSettings(name="head", deadline_s=5.0)
    async with (
        node,
        running_gateway(
            {"hung": url}, tmp_path, federation=federation, shedding=ONE_WAITS
        ) as gateway,
    ):
        first = [
            asyncio.create_task(gateway.ask(minimal_request(), account=ALICE))
            for _ in range(FEWEST)
        ]
        await until(lambda: len(asked) == FEWEST)
        strangers = [await gateway.ask(minimal_request(), account=NOBODY) for _ in range(3)]
        turned_away = await gateway.ask(minimal_request(), account=ALICE)
        assert gateway.app is not None
        await gateway.app[AUDIT].flush()
        trail = (await gateway.call("GET", "/admin/audit")).document["entries"]
        for one in first:
            one.cancel()
        await asyncio.gather(*first, return_exceptions=True)
        for writer in asked:
            writer.close()
    assert {one.status for one in strangers} == {401}
    assert turned_away.document["type"].endswith("/overloaded")
    assert {one["reason"] for one in trail if one["what"] == "POST /requests"} == {"unauthorized"}
