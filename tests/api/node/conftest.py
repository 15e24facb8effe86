"""A node for the tests of its API."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from tests.support.node import NodeClient, running_node


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[NodeClient]:
    """A small, quick node and a client that is Alice."""
    async with running_node(tmp_path) as client:
        yield client


@pytest.fixture(autouse=True)
def plain_log() -> Iterator[None]:
    """Tracebacks without the values of variables: drawing those takes seconds."""
    renderer = structlog.dev.ConsoleRenderer(
        colors=False, exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, renderer])
    yield
    structlog.reset_defaults()
