"""Two gateways on one PostgreSQL, under load and under fire, for less than a minute."""

from pathlib import Path
from typing import Final

import pytest

from tests.siege.run import SHORT, besiege

SEED: Final = 5

FAILURES: Final = frozenset(
    {
        "no answer",  # of the gateway that was killed, and of no other
        "503 store-unavailable",  # while the database was away, and at no other time
        "503 not-ready",
        "503 no-node-answered",  # where the machine was too busy
        "503 required-node-silent",
        "503 overloaded",
        "503 accept-pending",  # a node was not in time, and is asked until it says what became
        "503 answered-elsewhere",  # the other gateway took over a keyed request
        "409 update-refused",  # it was taken, or another of its set, or has expired
        "409 node-refused",
        "400 FAILED",  # a direct request that nobody could execute
    }
)
"""All that may fail of what is sensible; who asks badly is told so."""


READS: Final = frozenset({"read", "read set", "look"})
"""Served from memory, where there is one; tests/faults/test_database_away.py has the rest."""


@pytest.mark.timeout(180)
@pytest.mark.xdist_group("siege")
async def test_two_gateways_under_fire_run_everything_once_and_leave_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = await besiege(SHORT, SEED, tmp_path)
    with capsys.disabled():
        print()
        for line in result.lines():
            print(line)
    assert not result.broken
    assert result.deaths == SHORT.kills
    assert len(result.told.accepted) > SHORT.still_s
    failures = {
        outcome
        for op, outcome in result.told.counts
        if op != "bad" and not outcome.startswith(("2", "3"))
    }
    assert failures <= FAILURES
    served = {op for op, status in result.while_still if status < 400 and op not in READS}
    assert not served, "nobody is promised anything without the database"
    assert ("accept", 503) in result.while_still
