"""Benches on both engines."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.platforms.docker.bench import Bench
from tests.support.engines import Engine
from tests.support.images import busybox

Benches = Callable[..., Awaitable[Bench]]

_IMAGES: dict[str, str] = {}


def image_on(on: Engine) -> str:
    """The id of busybox on an engine, imported the first time."""
    if on.url not in _IMAGES:
        _IMAGES[on.url] = busybox(on)
    return _IMAGES[on.url]


@pytest.fixture
async def new_bench(tmp_path: Path) -> AsyncIterator[Benches]:
    """Makes benches on an engine; all are cleared up and checked at the end."""
    made: list[Bench] = []

    async def make(on: Engine, **settings: Any) -> Bench:
        bench = Bench(on, tmp_path / f"work{len(made)}", image_on(on), **settings)
        await bench.open()
        made.append(bench)
        return bench

    yield make
    async with AsyncExitStack() as stack:
        for bench in made:
            stack.push_async_callback(bench.close)


@pytest.fixture
async def bench(engine: Engine, new_bench: Benches) -> Bench:
    """A bench on each engine."""
    return await new_bench(engine)
