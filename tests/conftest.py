"""What every test shares: hypothesis profiles, and a log that is quick to write."""

import os
from collections.abc import Iterator

import pytest
import structlog
from aiohttp import web_app
from hypothesis import HealthCheck, settings

from tests.support.nursery import Nursery, running_nursery

pytest_plugins = [
    "tests.support.engines",
    "tests.support.postgres",
    "tests.support.rucio",
    "tests.support.stores",
]

settings.register_profile(
    "default",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=100,
)
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(trylast=True)  # hypothesis marks its tests in this hook too
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Coverage is not measured in properties: to trace a hundred examples of each takes longer than
    to try them, and other tests run the same lines."""
    for item in items:
        if item.get_closest_marker("hypothesis"):
            item.add_marker("no_cover")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Not all versions of pytest and pytest-xdist fit together: nothing fails, but the tests of a
    group are spread over the workers, and what they share is started in each of them."""
    if not getattr(session.config.option, "loadgroup", False):
        return
    for item in session.items:
        if item.get_closest_marker("xdist_group"):
            assert "@" in item.nodeid, f"pytest-xdist has put it in no group: {item.nodeid}"


@pytest.fixture(autouse=True)
def applications_are_let_go() -> Iterator[None]:
    """aiohttp keeps the last thousand applications that have answered, 3 MB each, for their
    middlewares; a process that serves has one, a run of tests has them all."""
    yield
    web_app._cached_build_middleware.cache_clear()


@pytest.fixture(autouse=True)
def plain_log() -> Iterator[None]:
    """Tracebacks without the values of variables: drawing those takes seconds."""
    renderer = structlog.dev.ConsoleRenderer(
        colors=False, exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, renderer])
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def nursery_of_this_run() -> Iterator[Nursery]:
    """It takes two seconds to start: one for all modules."""
    with running_nursery() as running:
        yield running


@pytest.fixture(scope="module")
def nursery(nursery_of_this_run: Nursery) -> Iterator[Nursery]:
    """Programs that start at once. What a module leaves running ends with it."""
    yield nursery_of_this_run
    nursery_of_this_run.clear()
