"""What these comparisons share: programs that start at once."""

from collections.abc import Iterator

import pytest

from tests.support.nursery import Nursery, running_nursery


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with running_nursery() as running:
        yield running
