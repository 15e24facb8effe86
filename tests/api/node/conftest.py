"""A node for the tests of its API."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.node import NodeClient, running_node


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[NodeClient]:
    """A small, quick node and a client that is Alice."""
    async with running_node(tmp_path) as client:
        yield client
