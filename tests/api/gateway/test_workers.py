"""One address served by several processes: they die, are replaced, and end, and nobody notices."""

import asyncio
import json
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.gateway import GatewayProcess
from tests.support.node import ADMIN
from tests.support.waiting import eventually, until

WORKERS = 2


def logged(folder: Path, event: str) -> list[dict[str, Any]]:
    """What the processes logged of this name."""
    whole, _, _ = (folder / "gateway.log").read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines() if f'"event": "{event}"' in line]


def pids(folder: Path) -> list[int]:
    """The workers that were started so far."""
    return [line["pid"] for line in logged(folder, "worker_started")]


def lives(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def text_at(url: str) -> str:
    """What is there, over a connection of its own."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.text()


@asynccontextmanager
async def serving(
    folder: Path, arguments: Sequence[str] = ("--workers", str(WORKERS))
) -> AsyncIterator[GatewayProcess]:
    gateway = GatewayProcess(
        {}, folder, arguments=arguments, log_format="json", drain_notice_s=0.5, drain_s=5
    )
    await gateway.start()
    try:
        yield gateway
    finally:
        with suppress(ProcessLookupError):
            assert await gateway.stop() in {0, -signal.SIGKILL}


class Visitors:
    """Clients that ask without pause, some on kept connections and some on new ones."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.outcomes: Counter[str] = Counter()
        self._is_over = False

    async def __aenter__(self) -> "Visitors":
        self._tasks = [asyncio.create_task(self._visit(keeps)) for keeps in (True, True, False)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def _visit(self, keeps: bool) -> None:
        connector = aiohttp.TCPConnector(force_close=not keeps)
        async with aiohttp.ClientSession(connector=connector) as session:
            while not self._is_over:
                try:
                    # A POST, as those are not repeated by the client of its own accord.
                    async with session.post(
                        f"{self._url}/requests", data=b"{}", headers=ADMIN.headers
                    ) as response:
                        await response.read()
                        self.outcomes[str(response.status)] += 1
                except aiohttp.ClientError as error:
                    self.outcomes[type(error).__name__] += 1
                await asyncio.sleep(0.005)


async def test_workers_are_replaced_one_by_one_and_no_request_fails(tmp_path: Path) -> None:
    async with serving(tmp_path) as gateway, Visitors(gateway.url) as visitors:
        before = pids(tmp_path)
        assert len(before) == WORKERS
        gateway.signal(signal.SIGHUP)
        await until(lambda: bool(logged(tmp_path, "workers_replaced")), within_s=30)
        after = pids(tmp_path)[WORKERS:]
        assert len(after) == WORKERS
        assert not any(lives(pid) for pid in before)
        assert all(lives(pid) for pid in after)
        was = visitors.outcomes.total()
        await until(lambda: visitors.outcomes.total() > was + 20, within_s=10)
    assert set(visitors.outcomes) == {"415"}, "the answer to a body without a type, and no other"


async def test_a_worker_that_dies_is_replaced_and_the_other_serves_on(tmp_path: Path) -> None:
    async with serving(tmp_path) as gateway:
        first = pids(tmp_path)
        os.kill(first[0], signal.SIGKILL)
        async with Visitors(gateway.url) as visitors:
            await until(lambda: len(pids(tmp_path)) > WORKERS, within_s=20)
            was = visitors.outcomes.total()
            await until(lambda: visitors.outcomes.total() > was + 20, within_s=10)
        assert set(visitors.outcomes) == {"415"}
        assert [line["pid"] for line in logged(tmp_path, "worker_died")] == first[:1]
        assert lives(first[1])
        assert lives(pids(tmp_path)[-1])


async def test_metrics_are_those_of_all_workers_whoever_is_asked(tmp_path: Path) -> None:
    async with serving(tmp_path) as gateway:
        for _ in range(24):  # each on a connection of its own: the kernel deals them out
            await text_at(f"{gateway.url}/nodes")
        seen = set()
        for _ in range(6):
            text = await text_at(f"{gateway.url}/metrics")
            found = re.search(
                r'^execbroker_http_requests_total\{.*route="/nodes".*\} (\S+)$', text, re.MULTILINE
            )
            assert found is not None, text
            seen.add(float(found[1]))
            assert text.count("\nexecbroker_build_info{") == 1
        assert seen == {24.0}

        async def has_measured() -> bool:
            text = await text_at(f"{gateway.url}/metrics")
            return '\nexecbroker_commands_pending{phase="ACCEPTED"} 0.0' in text

        await eventually(has_measured, within_s=15)


async def test_the_end_of_the_supervisor_is_the_end_of_its_workers(tmp_path: Path) -> None:
    async with serving(tmp_path) as gateway:
        workers = pids(tmp_path)
        await gateway.kill()
        await until(lambda: not any(lives(pid) for pid in workers), within_s=15)


async def test_all_end_when_told_to(tmp_path: Path) -> None:
    async with serving(tmp_path) as gateway:
        workers = pids(tmp_path)
        assert await gateway.stop() == 0
        assert not any(lives(pid) for pid in workers)


async def test_workers_that_cannot_serve_are_said_at_once(tmp_path: Path) -> None:
    gateway = GatewayProcess(
        {},
        tmp_path,
        arguments=("--workers", "2"),
        log_format="json",
        database="sqlite:////proc/nowhere/gateway.db",
    )
    with pytest.raises(AssertionError):
        await gateway.start()
    assert await gateway.stop() == 1
    assert len(logged(tmp_path, "worker_not_started")) == 1
