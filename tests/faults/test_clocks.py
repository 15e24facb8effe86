"""Clocks that are set forward, or hours back, while work is under way delay nobody."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from tests.support.crashing import is_update
from tests.support.lost_node import RUNS_ON, WATCHFUL
from tests.support.pair import LASTING, PATIENT, STRICT, TurnedClock, pair
from tests.support.proxy import Weather
from tests.support.waiting import eventually

HOURS: Final = timedelta(hours=3)


@pytest.mark.parametrize("shift", [-HOURS, timedelta(minutes=2)], ids=["back", "forward"])
async def test_a_command_that_waits_when_the_clock_is_set_is_delivered_at_once(
    tmp_path: Path, shift: timedelta
) -> None:
    clock = TurnedClock()
    changes = {"platform": RUNS_ON}
    async with pair(
        tmp_path, alpha_changes=changes, sessions=PATIENT, commands=LASTING, clock=clock
    ) as two:
        uuid = (await two.offers())["alpha"]["meta"]["uuid"]
        await two.gateway.move(uuid, "ACCEPTED", **STRICT)
        await two.alpha.reaches(uuid, "RUNNING")
        two.proxy.applies_to = is_update
        two.proxy.weather = Weather.FAILS
        await two.gateway.move(uuid, "CANCELLED")
        clock.shift = shift
        two.proxy.weather = Weather.FINE
        await two.alpha.reaches(uuid, "CANCELLED", within_s=10)


async def test_a_session_is_followed_although_the_clock_was_set_back(tmp_path: Path) -> None:
    clock = TurnedClock()
    async with pair(tmp_path, sessions=WATCHFUL, commands=LASTING, clock=clock) as two:
        offers = await two.offers()
        uuid = offers["alpha"]["meta"]["uuid"]
        await two.accept(offers["alpha"])
        clock.shift = -HOURS

        async def is_known_to_have_ended() -> bool:
            # Whoever reads a session through the gateway has it looked at: this is past it.
            return phase_of(two.database, uuid) == "COMPLETED"

        await eventually(is_known_to_have_ended, 15)
        assert two.ran() == {uuid}


def phase_of(database: Path, session: str) -> str:
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT phase FROM sessions WHERE uuid = ?"
        return str(connection.execute(query, (session,)).fetchone()[0])
