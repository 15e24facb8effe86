"""What the tests of the model share."""

from collections.abc import Iterator

import pytest
import structlog

from tests.model.quiet import quieten
from tests.model.store import SharedStore


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The services log every event of every schedule: not here."""
    before = structlog.get_config()
    quieten()
    yield
    structlog.configure(**before)


@pytest.fixture
def store() -> Iterator[SharedStore]:
    store = SharedStore()
    yield store
    store.close()
