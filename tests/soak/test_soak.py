"""A minute of mixed traffic with faults, and the plan of those faults."""

from pathlib import Path

import pytest

from tests.soak.faults import GATEWAY_UNTIL, What, plan
from tests.soak.run import soak

SECONDS = 30.0
"""Of traffic. With start, rest and reckoning it is a minute."""

SEED = 5


@pytest.mark.timeout(120)
@pytest.mark.xdist_group("soak")
async def test_a_minute_of_trouble_breaks_no_promise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = await soak(SECONDS, SEED, tmp_path)
    with capsys.disabled():
        print()
        for line in result.lines():
            print(line)
    assert not result.broken
    assert result.deaths
    assert len(result.told.accepted) > SECONDS
    assert result.told.counts["ask", "303"] > SECONDS


@pytest.mark.parametrize("seconds", [30, 60, 1800])
@pytest.mark.parametrize("seed", range(5))
def test_every_plan_kills_the_gateway_and_nodes_and_leaves_the_end_to_be_measured(
    seconds: int, seed: int
) -> None:
    trouble = plan(seconds, nodes=3, slots=3, seed=seed)
    assert trouble == plan(seconds, nodes=3, slots=3, seed=seed)
    assert [it.at_s for it in trouble] == sorted(it.at_s for it in trouble)
    whats = {it.what for it in trouble}
    assert {What.GATEWAY_DIES, What.NODE_MISBEHAVES} <= whats
    assert whats & {What.NODE_DIES, What.NODE_STOPS}
    deaths = [it.at_s for it in trouble if it.what is What.GATEWAY_DIES]
    assert max(deaths) <= seconds * GATEWAY_UNTIL
