"""Five times what the gateway can do: what it lets in it answers, the rest it turns away."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gateway.wire.documents import to_json
from tests.bench.measure import running
from tests.bench.open_load import Gun, Shot, percentile
from tests.support.gateway import GatewayProcess
from tests.support.node import ADMIN
from tests.support.requests import minimal_request

SITES: Final = 16
DEADLINE_S: Final = 3.0
MARGIN_S: Final = 1.5
"""Allowed beyond the deadline: two cores have the gateway, the sites and those who ask."""

TOO_MUCH: Final = 5
SECONDS: Final = 2.0


@contextmanager
def sites(folder: Path) -> Iterator[dict[str, str]]:
    command = ["-m", "tests.bench.site_nodes", str(SITES), "0", "0", "1"]
    with running(command, folder / "sites.log") as started:
        yield {f"site-{i:02}": url for i, url in enumerate(started.ready["urls"])}


def gun(url: str) -> Gun:
    headers = {"Content-Type": "application/json", **ADMIN.headers}
    return Gun(url, "/requests", to_json(minimal_request()), headers)


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
                # Where there is less to do again, everybody is let in.
                after = await asking.saturate(4, 1.0)
                assert statuses(after).keys() == {303}
        finally:
            assert await gateway.stop() == 0
