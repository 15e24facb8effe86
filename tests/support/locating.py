"""A guarded lake and a locator over catalogues on loopback, with limits that suit tests."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from prometheus_client import CollectorRegistry

from gateway.clients.lakes.connections import ConnectionLimits, LakeConnections
from gateway.clock import SystemClock
from gateway.services.locating_breaker import BreakerLimits
from gateway.services.locating_cache import AnswerCache, CacheLimits
from gateway.services.locating_guard import GuardedLake, GuardLimits
from gateway.services.locating_metrics import LocatingMetrics
from gateway.wire.documents import Document
from gateway.wire.views import DataView
from tests.support.faulty_nodes import running
from tests.support.lake_stubs import StubRucio, rucio_lake

LIMITS = GuardLimits(
    fetch_s=3.0,
    silent_s=0.1,
    cache=CacheLimits(),
    breaker=BreakerLimits(failures=3, rest_s=0.3),
)
"""Hasty, so that tests are quick."""


def caching(**times: float) -> GuardLimits:
    """The limits with other times in the cache."""
    return replace(LIMITS, cache=CacheLimits(**times))  # type: ignore[arg-type]  # all seconds


@asynccontextmanager
async def guarded_rucio(
    stub: StubRucio, limits: GuardLimits = LIMITS, registry: CollectorRegistry | None = None
) -> AsyncIterator[GuardedLake]:
    """This stub, running, behind a memory of its own."""
    hasty = ConnectionLimits(silence_s=2.0)
    async with running(stub) as server, LakeConnections(hasty) as connections:
        lake = GuardedLake(
            rucio_lake(connections, server.url),
            AnswerCache(limits.cache, lambda: 0.5),
            limits,
            SystemClock(),
            LocatingMetrics(registry or CollectorRegistry()),
        )
        try:
            yield lake
        finally:
            await lake.aclose()


def views(documents: Sequence[Document]) -> list[DataView]:
    """The data resources of a request, as the rest of the gateway sees them."""
    return [
        DataView(index, str(document.get("kind")), None, document)
        for index, document in enumerate(documents)
    ]
