"""From the listening line to the end: signals, requests in flight, and ports that are taken."""

import asyncio
import json
import os
import signal
import socket
from typing import Any

import aiohttp
import pytest
from yarl import URL

from gateway.httpkit.listen_address import ListenAddress
from gateway.httpkit.serving import FIRST_WORDS_S, run, serve
from tests.api.httpkit_app import Notes, new_notes_app


def stop(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


class Served:
    """The application served in this process, and a client that keeps its connections."""

    def __init__(self, capsys: pytest.CaptureFixture[str], drain_s: float = 5.0) -> None:
        self.notes = Notes()
        self._capsys = capsys
        self._drain_s = drain_s

    async def __aenter__(self) -> "Served":
        app = new_notes_app(self.notes)
        self.task = asyncio.create_task(serve(app, ListenAddress("127.0.0.1", 0), self._drain_s))
        out = ""
        async with asyncio.timeout(5):
            while "\n" not in out:
                await asyncio.sleep(0.005)
                out += self._capsys.readouterr().out
        line = json.loads(out.splitlines()[0])
        assert line["event"] == "listening"
        self.port = URL(line["url"]).port
        self.session = aiohttp.ClientSession(line["url"])
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.session.close()
        if not self.task.done():
            stop()
            self.notes.gate.set()
        async with asyncio.timeout(5):
            await self.task

    async def status_of(self, path: str) -> int:
        async with self.session.get(path) as response:
            await response.read()
            return response.status

    async def connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that the service has taken, and on which nothing is said."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        await self.status_of("/livez")  # over a connection that was taken later
        return reader, writer

    async def begin_gated(self) -> "asyncio.Task[int]":
        """A request that is in flight until the gate opens."""
        task = asyncio.create_task(self.status_of("/gated"))
        async with asyncio.timeout(5):
            await self.notes.arrived.wait()
        return task


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_an_idle_service_at_once(
    capsys: pytest.CaptureFixture[str], number: int
) -> None:
    async with Served(capsys) as served:
        assert await served.status_of("/readyz") == 200
        stop(number)
        async with asyncio.timeout(2):
            await served.task


async def test_what_has_begun_is_ended_and_nothing_new_is_taken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with Served(capsys) as served:
        async with asyncio.TaskGroup() as group:  # two at once, so two connections to keep
            for _ in range(2):
                group.create_task(served.status_of("/livez"))
        gated = await served.begin_gated()
        stop()
        assert await served.status_of("/readyz") == 503
        with pytest.raises(aiohttp.ClientConnectorError):
            await served.status_of("/livez")
        assert not served.task.done()
        served.notes.gate.set()
        assert await gated == 200
        async with asyncio.timeout(2):
            await served.task


async def test_a_connection_taken_in_the_last_moment_is_answered(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with Served(capsys) as served:
        reader, writer = await served.connected()
        stop()
        await asyncio.sleep(0.1)
        assert not served.task.done()
        writer.write(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        async with asyncio.timeout(FIRST_WORDS_S / 2):
            await served.task
        writer.close()


async def test_a_connection_on_which_nothing_comes_is_not_waited_for_for_long(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with Served(capsys, drain_s=60) as served:
        reader, writer = await served.connected()
        stop()
        async with asyncio.timeout(2 * FIRST_WORDS_S):
            assert await reader.read() == b""
            await served.task
        writer.close()


async def test_requests_that_outlive_the_drain_are_broken_off(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with Served(capsys, drain_s=0.05) as served:
        gated = await served.begin_gated()
        stop()
        with pytest.raises(aiohttp.ClientError):
            await gated
        async with asyncio.timeout(5):
            await served.task


async def test_a_second_signal_ends_the_drain(capsys: pytest.CaptureFixture[str]) -> None:
    async with Served(capsys, drain_s=60) as served:
        gated = await served.begin_gated()
        stop()
        await asyncio.sleep(0.02)
        assert not served.task.done()
        stop()
        with pytest.raises(aiohttp.ClientError):
            await gated
        async with asyncio.timeout(5):
            await served.task


def test_a_port_that_is_taken_is_said_and_gives_a_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = ListenAddress("127.0.0.1", taken.getsockname()[1])
        assert run(new_notes_app(Notes()), address, drain_s=1) == 1
    assert "listening" not in capsys.readouterr().out.replace("cannot_listen", "")


def test_running_until_a_signal_gives_status_zero(capsys: pytest.CaptureFixture[str]) -> None:
    app = new_notes_app(Notes())

    async def stop_soon(_app: Any) -> None:
        asyncio.get_running_loop().call_later(0.02, stop)

    app.on_startup.append(stop_soon)
    assert run(app, ListenAddress("0.0.0.0", 0), drain_s=1) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[0])
    assert line["url"].startswith("http://127.0.0.1:")
