"""A bench for each sandbox that works on this machine."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from node_stub.clock import Clock
from node_stub.platforms.local.settings import LocalSettings, SandboxChoice
from tests.platforms.local.jobs import PRINTER, SHELL, Bench
from tests.support.required import required

Benches = Callable[..., Awaitable[Bench]]

BOXES = (SandboxChoice.BUBBLEWRAP, SandboxChoice.NAMESPACES)
"""The sandboxes that keep things from a job."""


@pytest.fixture
async def new_bench(tmp_path: Path) -> AsyncIterator[Benches]:
    """Makes benches; all are cleared up and checked at the end."""
    made: list[Bench] = []

    async def make(
        choice: SandboxChoice = SandboxChoice.AUTO, *, clock: Clock | None = None, **given: Any
    ) -> Bench:
        given = {"programs": (SHELL, PRINTER), "grace_s": 0.5, **given}
        settings = LocalSettings(sandbox=choice, **given)
        bench = Bench(tmp_path / f"work{len(made)}", settings, clock)
        await bench.runner.open(bench.hints.append)
        health = await bench.runner.probe()
        required("local", health.is_up, f"sandbox {choice}: {health.detail}")
        made.append(bench)
        return bench

    yield make
    for bench in made:
        await bench.close()


@pytest.fixture(params=list(SandboxChoice)[1:], ids=str)
async def bench(request: pytest.FixtureRequest, new_bench: Benches) -> Bench:
    """One bench for each sandbox, `plain` included."""
    return await new_bench(request.param)


@pytest.fixture(params=BOXES, ids=str)
async def box(request: pytest.FixtureRequest, new_bench: Benches) -> Bench:
    """One bench for each sandbox that keeps things from a job."""
    return await new_bench(request.param)
