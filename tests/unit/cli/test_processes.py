"""Child services, with small programs in their place."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.cli.processes import Service, ServiceError

GOOD = """
import signal, sys, threading
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
print('{"event": "listening", "url": "http://127.0.0.1:1"}', flush=True)
stop.wait()
"""
DYING = "import sys; print('port is taken', file=sys.stderr); sys.exit(4)"
SILENT = "import threading; threading.Event().wait()"
CHATTY = "print('hello'); import threading; threading.Event().wait()"
STUBBORN = GOOD.replace("lambda *_: stop.set()", "signal.SIG_IGN")

Make = Callable[[str], Service]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def service(source: str) -> Service:
        (tmp_path / "program.py").write_text(source)
        environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return Service("alpha", "program", [], tmp_path, environ)

    return service


async def test_a_service_tells_its_url_and_stops_with_code_0(make: Make) -> None:
    service = make(GOOD)
    await service.start()
    assert await service.url(10) == "http://127.0.0.1:1"
    service.check()
    assert await service.stop(10) == 0


async def test_a_service_that_dies_is_blamed_with_the_end_of_its_log(make: Make) -> None:
    service = make(DYING)
    await service.start()
    with pytest.raises(ServiceError, match="alpha stopped by itself with exit code 4") as caught:
        await service.url(10)
    assert "port is taken" in str(caught.value)
    assert await service.stop(1) == 4


@pytest.mark.parametrize(
    ("source", "deadline_s", "match"),
    [(SILENT, 0.2, "did not start within 0.2 s"), (CHATTY, 10, "did not say where")],
)
async def test_a_service_that_does_not_tell_its_url_is_blamed_in_time(
    make: Make, source: str, deadline_s: float, match: str
) -> None:
    service = make(source)
    await service.start()
    try:
        with pytest.raises(ServiceError, match=match):
            await service.url(deadline_s)
    finally:
        await service.stop(5)


async def test_a_service_that_ignores_its_end_is_killed_and_the_code_shows_it(make: Make) -> None:
    service = make(STUBBORN)
    await service.start()
    await service.url(10)
    began = time.monotonic()
    assert await service.stop(0.2) == -9
    assert time.monotonic() - began < 3


async def test_a_service_that_never_started_stops_with_code_0(make: Make) -> None:
    assert await make(GOOD).stop(1) == 0
