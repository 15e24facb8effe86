"""Lakes are looked after while nobody asks for data."""

from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from gateway.clock import SystemClock
from gateway.services.locating_metrics import LocatingMetrics
from gateway.services.locating_watch import LakeWatch
from tests.support.lake_stubs import StubRucio, fails
from tests.support.locating import guarded_rucio


async def test_operators_see_when_a_lake_goes_down_and_comes_back() -> None:
    registry = CollectorRegistry()
    stub = StubRucio()
    async with guarded_rucio(stub) as lake:
        watch = LakeWatch([lake], SystemClock(), LocatingMetrics(registry))
        seen = []
        with capture_logs() as logged:
            for is_up in (True, True, False, False, True):
                stub.faults = {} if is_up else {"/ping": fails("500 Internal Server Error")}
                assert await watch.look() > 0
                seen.append(registry.get_sample_value("execbroker_lake_up", {"lake": "rucio"}))
    assert seen == [1, 1, 0, 0, 1]
    events = [entry["event"] for entry in logged if entry["event"].startswith("lake_is_")]
    assert events == ["lake_is_up", "lake_is_down", "lake_is_up"]
    assert len(stub.logins) == 1
