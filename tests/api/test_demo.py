"""The demo, run as people run it."""

import asyncio
import json
import re
import signal
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PROMISE_S: Final = 60
COMMAND: Final = (sys.executable, "-m", "gateway.cli.demo")


@asynccontextmanager
async def demo(*argv: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The demo's process, told to stop itself and its services if the test leaves it running."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *argv,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PROMISE_S):
            yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.communicate()


async def test_the_demo_shows_everything_it_promises_in_less_than_a_minute() -> None:
    began = time.monotonic()
    async with demo() as process:
        out, err = (text.decode() for text in await process.communicate())
    assert process.returncode == 0, out + err
    assert time.monotonic() - began < PROMISE_S
    assert err == ""
    for expected in ("What is asked", "Who answered", "best offers, and why", "COMPLETED"):
        assert expected in out
    for node in ("alpha", "beta", "gamma"):
        assert re.search(rf"│ {node} +│ answered", out)
    offers = int(re.findall(r"The (\d+) best offers", out)[0])
    assert offers > 3
    assert out.count("is REJECTED") == offers - 1
    assert out.count(": 0 holds and bookings left") == 3
    assert "Stopped: gateway (0), gamma (0), beta (0), alpha (0)" in out


async def test_a_demo_that_is_kept_can_be_used_and_stops_on_a_signal() -> None:
    async with demo("--keep") as process:
        assert process.stdout is not None
        shown = ""
        while "--data-binary" not in shown:
            line = await process.stdout.readline()
            assert line, shown
            shown += line.decode()
        found = re.search(r"gateway +(http://\S+)", shown)
        assert found is not None
        nodes = await asyncio.to_thread(read_json, f"{found[1]}/nodes")
        assert [node["name"] for node in nodes["nodes"]] == ["alpha", "beta", "gamma"]
        process.send_signal(signal.SIGTERM)
        out, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")
    assert "Stopped" in out.decode()


def read_json(url: str) -> dict[str, list[dict[str, str]]]:
    with urllib.request.urlopen(url, timeout=5) as response:
        document: dict[str, list[dict[str, str]]] = json.load(response)
    return document
