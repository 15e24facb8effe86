"""What every test shares: hypothesis profiles, and a log that is quick to write."""

import os
from collections.abc import Iterator

import pytest
import structlog
from aiohttp import web_app
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]

settings.register_profile(
    "default",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=100,
)
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


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
