"""What the tests of the model share."""

from collections.abc import Iterator

import pytest
import structlog

from tests.model.quiet import quieten
from tests.model.store import SharedStore


@pytest.fixture(autouse=True)
def quiet(no_cover: None) -> Iterator[None]:
    """The services log every event of every schedule: not here. Nor is coverage measured in these
    thousands of runs of what other tests run too: it would take as long again."""
    before = structlog.get_config()
    quieten()
    yield
    structlog.configure(**before)


@pytest.fixture
def store() -> Iterator[SharedStore]:
    store = SharedStore()
    yield store
    store.close()
