"""The model finds what it is there to find: bugs put into the product's classes on purpose."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.model.__main__ import named
from tests.model.bugs import BUGS, Bug
from tests.model.explore import Explorer
from tests.model.report import from_token, report, token_of
from tests.model.store import SharedStore

BUDGET: Final = 1500
"""Distinct schedules in which a bug has to be found; the deepest takes some 400."""


@contextmanager
def explorer_of(bug: Bug) -> Iterator[Explorer]:
    store = SharedStore()
    store.change(bug.schema)
    yield Explorer(store, named(bug.scenario), bug.parts)
    store.close()


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_seeded_bug_is_found_and_its_schedule_can_be_played_again(bug: Bug) -> None:
    with explorer_of(bug) as explorer:
        found = explorer.explore(bug.bound, BUDGET)
        assert found is not None, f"not found in {explorer.counts}"
        assert len(found.choices) <= bug.bound
        text = report(found)
    print(text)
    assert bug.shows in text
    scenario, choices = from_token(token_of(found.scenario, found.choices))
    assert (scenario, choices) == (bug.scenario, found.choices)
    with explorer_of(bug) as again:
        assert again.replay(choices) == found.outcome
