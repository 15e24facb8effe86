"""Several processes that serve one address, and the one that starts, replaces and ends them.

The supervisor opens the socket and serves nothing itself. Its workers inherit the socket, so a
connection that the kernel has taken waits for whichever of them comes first: none is lost when one
of them dies or is replaced.
"""

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import multiprocess

from gateway.httpkit import garbage
from gateway.httpkit.listen_address import ListenAddress
from gateway.httpkit.serving import SIGNALS, ListenError, announce, listening
from gateway.httpkit.telemetry import METRICS_FOLDER

START_S: Final = 60.0
"""How long a worker may take until it serves: an old database may have to be upgraded first."""

MARGIN_S: Final = 5.0
"""How much longer than its drain a worker may take to end before it is killed."""

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 10.0
"""Between the starts of a worker that dies again and again, doubling from the first on."""

SOUND_S: Final = 30.0
"""A worker that has served for so long is sound: when it dies, it is replaced at once."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pool:
    """What to run: ``command`` is a worker's, to which the socket's number is added."""

    command: Sequence[str]
    listen: ListenAddress
    count: int
    end_s: float
    is_tls: bool = False


def supervise(pool: Pool) -> int:
    """Run workers until SIGTERM or SIGINT; gives the exit status.

    SIGHUP replaces them one by one, each by a new one that reads the settings anew and serves
    before the old one is told to end.
    """
    garbage.has_started()
    folder = tempfile.mkdtemp(prefix="execbroker-metrics-")
    try:
        return asyncio.run(Supervisor(pool, Path(folder)).run())
    except ListenError as error:
        _log.critical("cannot_listen", listen=str(pool.listen), reason=error.reason)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class _Worker:
    """A worker that came to serve, ``since`` then; how long to wait before it is replaced."""

    process: asyncio.subprocess.Process
    since: float
    pause_s: float = 0.0

    def note_death(self, now: float) -> None:
        """Find out how soon another may be started in its place."""
        if now - self.since >= SOUND_S:
            self.pause_s = 0.0
        self.pause_s = min(max(2 * self.pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        self.since = now


class Supervisor:
    """Keeps ``pool.count`` workers serving; ``folder`` is where they add up their metrics."""

    def __init__(self, pool: Pool, folder: Path) -> None:
        self._pool = pool
        self._folder = folder
        self._workers: list[_Worker] = []
        self._is_ending = asyncio.Event()
        self._replacing = asyncio.Event()

    async def run(self) -> int:
        """Serve until told to end; the exit status.

        Raises
        ------
        ListenError
        """
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGHUP, self._replacing.set)
        with listening(self._pool.listen) as opened:
            try:
                if not await self._start_all(opened):
                    return 1
                address = ListenAddress(self._pool.listen.host, opened.getsockname()[1])
                announce(address, is_tls=self._pool.is_tls)
                await self._keep(opened)
            finally:
                await self._end([worker.process for worker in self._workers])
        _log.info("supervisor_stopped")
        return 0

    def _on_signal(self) -> None:
        if self._is_ending.is_set():  # the second: workers end their waits too
            _terminate(worker.process for worker in self._workers)
        self._is_ending.set()

    async def _start_all(self, opened: socket.socket) -> bool:
        """Start all workers, the first alone: it makes or upgrades the database."""
        loop = asyncio.get_running_loop()
        for count in (1, self._pool.count - 1):
            started = await asyncio.gather(*(self._start(opened) for _ in range(count)))
            self._workers += [_Worker(one, loop.time()) for one in started if one is not None]
            if None in started:
                return False
        return True

    async def _start(self, opened: socket.socket) -> asyncio.subprocess.Process | None:
        """A worker that serves; None if it did not come to that."""
        # Its standard input is a pipe of ours: it ends when we are gone, however that came. In a
        # session of its own it does not get what a terminal sends to the whole group.
        process = await asyncio.create_subprocess_exec(
            *self._pool.command,
            "--socket-fd",
            str(opened.fileno()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(opened.fileno(),),
            start_new_session=True,
            env=os.environ | {METRICS_FOLDER: str(self._folder)},
        )
        assert process.stdout is not None
        line = b""
        try:
            async with asyncio.timeout(START_S):
                line = await process.stdout.readline()
        except TimeoutError:
            _log.error("worker_silent", pid=process.pid, waited_s=START_S)
        finally:
            if not line:
                await self._end([process])
        if not line:
            _log.error("worker_not_started", pid=process.pid, status=process.returncode)
            return None
        _log.info("worker_started", pid=process.pid)
        return process

    async def _keep(self, opened: socket.socket) -> None:
        """Replace what dies and, when asked, everything; until told to end."""
        while True:
            await self._until_something()
            if self._is_ending.is_set():
                return
            if self._replacing.is_set():
                self._replacing.clear()
                await self._replace_all(opened)
            for worker in self._workers:
                if worker.process.returncode is not None and not self._is_ending.is_set():
                    await self._replace_dead(worker, opened)

    async def _until_something(self) -> None:
        """Wait until a worker has died or a signal came."""
        waits = [
            asyncio.ensure_future(wait)
            for wait in (
                self._is_ending.wait(),
                self._replacing.wait(),
                *(worker.process.wait() for worker in self._workers),
            )
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _replace_dead(self, worker: _Worker, opened: socket.socket) -> None:
        """Start another in its place, later and later when it does not last."""
        loop = asyncio.get_running_loop()
        self._forget(worker.process)
        worker.note_death(loop.time())
        _log.error(
            "worker_died",
            pid=worker.process.pid,
            status=worker.process.returncode,
            pause_s=worker.pause_s,
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(worker.pause_s):
                await self._is_ending.wait()
        if not self._is_ending.is_set() and (new := await self._start(opened)) is not None:
            worker.process, worker.since = new, loop.time()

    async def _replace_all(self, opened: socket.socket) -> None:
        """A new worker for each, that serves before the old one is told to end."""
        loop = asyncio.get_running_loop()
        for done, worker in enumerate(self._workers):
            new = None if self._is_ending.is_set() else await self._start(opened)
            if new is None:
                _log.error("workers_not_replaced", replaced=done, of=len(self._workers))
                return
            old, worker.process, worker.since = worker.process, new, loop.time()
            await self._end([old])
        _log.info("workers_replaced", count=len(self._workers))

    async def _end(self, processes: Sequence[asyncio.subprocess.Process]) -> None:
        """Tell processes to end, and kill those that do not."""
        _terminate(processes)
        try:
            async with asyncio.timeout(self._pool.end_s + MARGIN_S):
                await asyncio.gather(*(process.wait() for process in processes))
        except TimeoutError:
            for process in processes:
                if process.returncode is None:
                    _log.warning("worker_killed", pid=process.pid)
                    process.kill()
                    await process.wait()
        for process in processes:
            self._forget(process)

    def _forget(self, process: asyncio.subprocess.Process) -> None:
        """What it counted stays; what it only showed, as its requests in flight, goes."""
        multiprocess.mark_process_dead(  # type: ignore[no-untyped-call]  # the library has none
            process.pid, str(self._folder)
        )


def _terminate(processes: Iterable[asyncio.subprocess.Process]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            process.terminate()
