"""No schedule of the accept protocol, of a resubmission or of requests under one key breaks a
promise: all up to a bound, and some beyond.

``make model`` explores a hundred thousand of them; here are so many as a minute has room for.
"""

from typing import Final

import pytest

from tests.model.explore import Explorer
from tests.model.report import report
from tests.model.scenarios import SCENARIOS, Scenario
from tests.model.store import SharedStore

BOUND: Final = 2
"""Faults and interruptions in one schedule."""

WALKS: Final = range(50)
"""Seeds of the random schedules with as many faults as come."""


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_no_schedule_up_to_a_bound_breaks_a_promise(store: SharedStore, scenario: Scenario) -> None:
    explorer = Explorer(store, scenario)
    found = explorer.explore(BOUND, scenario.at_most)
    assert found is None, report(found)
    assert explorer.counts.distinct == scenario.at_most or explorer.counts.complete == BOUND
    assert explorer.counts.complete >= 1


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_no_random_schedule_breaks_a_promise(store: SharedStore, scenario: Scenario) -> None:
    explorer = Explorer(store, scenario)
    found = explorer.walk(WALKS)
    assert found is None, report(found)
    assert explorer.counts.distinct > len(WALKS) / 2
