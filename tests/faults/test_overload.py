"""More than the gateway can do at once: a burst waits its turn, what is too much is turned away."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from signal import SIGTERM
from typing import Final

import aiohttp
import pytest

from gateway.httpkit.shedding import FEWEST
from gateway.httpkit.shedding_settings import SheddingSettings
from gateway.settings import FederationSettings
from gateway.wire.documents import to_json
from tests.bench.measure import running
from tests.bench.open_load import Gun, Shot, percentile
from tests.support.faulty_nodes import answers_late, hangs_before_headers
from tests.support.faulty_nodes import running as running_node
from tests.support.gateway import GatewayProcess, running_gateway
from tests.support.node import ADMIN
from tests.support.requests import minimal_request
from tests.support.waiting import eventually, until

SITES: Final = 16
DEADLINE_S: Final = 3.0
MARGIN_S: Final = 2.5
"""Allowed beyond the deadline: two cores have the gateway, the sites, those who ask, and whatever
else is tested."""

TOO_MUCH: Final = 5
SECONDS: Final = 2.0

BURST: Final = 40
LOW: Final = {"start_heavy": 4, "max_heavy": 8}
"""So few are answered at the same time, however well it goes."""

PATIENT: Final = FederationSettings(deadline_s=20.0)
"""A burst may wait for a quarter of it: the machine may be busy."""

WAITED_S: Final = 0.4
AWHILE_S: Final = 1.0
"""Nodes answer so late, so that those who wait are seen to."""


@contextmanager
def sites(folder: Path, count: int = SITES) -> Iterator[dict[str, str]]:
    command = ["-m", "tests.bench.site_nodes", str(count), "0", "0", "1"]
    with running(command, folder / "sites.log") as started:
        yield {f"site-{i:02}": url for i, url in enumerate(started.ready["urls"])}


def gun(url: str) -> Gun:
    headers = {"Content-Type": "application/json", **ADMIN.headers}
    return Gun(url, "/requests", to_json(minimal_request()), headers)


@asynccontextmanager
async def serving(gateway: GatewayProcess) -> AsyncIterator[None]:
    """Started; ends as it should."""
    await gateway.start()
    try:
        yield
    finally:
        assert await gateway.stop() == 0


async def waiting_at(url: str) -> int:
    """How many requests are said to wait their turn."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        found = re.search(r"(?m)^execbroker_heavy_requests_waiting (\S+)$", await response.text())
    assert found is not None
    return int(float(found[1]))


def statuses(shots: list[Shot]) -> Counter[int]:
    return Counter(shot.status for shot in shots)


async def test_an_overloaded_gateway_answers_what_it_lets_in_and_turns_the_rest_away(
    tmp_path: Path,
) -> None:
    with sites(tmp_path) as urls:
        federation = {"deadline_s": DEADLINE_S}
        gateway = GatewayProcess(urls, tmp_path, federation=federation)
        await gateway.start()
        try:
            async with gun(gateway.url) as asking:
                await asking.fire()
                usual = await asking.saturate(4, 1.5)
                at_most = len(usual) / 1.5
                shots = await asking.volley(TOO_MUCH * at_most, SECONDS)
                let_in = [shot.took_s for shot in shots if shot.status == 303]
                turned_away = [shot for shot in shots if shot.status == 503]
                said = f"{at_most:.0f}/s at most; {statuses(shots)}"
                assert statuses(shots).keys() == {303, 503}, said
                assert len(let_in) >= at_most * SECONDS / 4, said
                assert percentile(let_in, 0.99) <= DEADLINE_S + MARGIN_S, said
                assert all(1 <= int(shot.headers["retry-after"]) <= 3 for shot in turned_away)
                assert all(shot.document["type"].endswith("overloaded") for shot in turned_away)
                # To hear that one must come again takes no longer than to be let in.
                refused_s = [shot.took_s for shot in turned_away]
                assert percentile(refused_s, 0.99) <= AWHILE_S + MARGIN_S, said
                # Where there is less to do again, everybody is let in.
                after = await asking.saturate(4, 1.0)
                assert statuses(after).keys() == {303}
        finally:
            assert await gateway.stop() == 0


@pytest.mark.parametrize(("max_waiting", "expected"), [(64, {303}), (0, {303, 503})])
async def test_a_burst_waits_its_turn_and_is_answered_whole(
    tmp_path: Path, max_waiting: int, expected: set[int]
) -> None:
    shedding = LOW | {"max_waiting": max_waiting, "max_wait_s": 5}
    with sites(tmp_path, 4) as urls:
        federation = {"deadline_s": PATIENT.deadline_s}
        gateway = GatewayProcess(urls, tmp_path, federation=federation, shedding=shedding)
        async with serving(gateway), gun(gateway.url) as asking:
            shots = await asyncio.gather(*(asking.fire() for _ in range(BURST)))
    assert statuses(shots).keys() == expected, statuses(shots)


async def test_what_was_waited_is_taken_from_the_time_for_the_nodes(tmp_path: Path) -> None:
    shedding = SheddingSettings(start_heavy=FEWEST, high_lag_s=60, low_lag_s=1e-9, max_wait_s=5)
    loop = asyncio.get_running_loop()
    async with (
        running_node(answers_late(WAITED_S)) as late,
        running_node(hangs_before_headers) as hung,
        running_gateway(
            {"late": late.url, "hung": hung.url},
            tmp_path,
            federation=FederationSettings(deadline_s=4.0),
            shedding=shedding,
        ) as gateway,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(FEWEST):
            group.create_task(gateway.ask(minimal_request(), "?nodes=late"))
        await until(lambda: len(late.asked) == FEWEST)
        began = loop.time()
        last = group.create_task(gateway.ask(minimal_request(), "?nodes=hung", Prefer="wait=2"))
        await until(lambda: len(hung.asked) == 1)
        waited_s = loop.time() - began
        budget_s = int(hung.asked[0].headers["federation-budget-ms"]) / 1000
        await last
    assert waited_s >= WAITED_S / 2
    assert budget_s <= 2.0 - WAITED_S / 2


async def test_who_waits_when_the_gateway_is_told_to_end_is_answered(tmp_path: Path) -> None:
    async with running_node(answers_late(AWHILE_S)) as late:
        gateway = GatewayProcess(
            {"late": late.url},
            tmp_path,
            federation={"deadline_s": PATIENT.deadline_s},
            shedding={"start_heavy": FEWEST, "max_wait_s": 5},
        )
        async with serving(gateway), gun(gateway.url) as asking:
            # More than the limit has grown to by the time that these have come.
            shots = [asyncio.create_task(asking.fire()) for _ in range(BURST)]

            async def are_waiting() -> bool:
                return await waiting_at(gateway.url) > 0

            await eventually(are_waiting)
            gateway.signal(SIGTERM)
            assert statuses(await asyncio.gather(*shots)).keys() == {303}
