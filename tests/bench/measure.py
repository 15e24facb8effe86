"""Instruments: processes on their own core, their CPU time, load, and honest statistics."""

import asyncio
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import Any, Final

MAX_VARIATION: Final = 0.08
"""Rounds that differ more than this (standard deviation over mean) are not judged."""


class NotStartedError(Exception):
    """A process did not come up; the message holds the end of what it said."""


@dataclass(frozen=True, slots=True)
class Started:
    """A running process and the first line it said, as JSON."""

    pid: int
    ready: Any


_CORES: Final = sorted(os.sched_getaffinity(0))


def pin(core: int, pid: int = 0) -> None:
    """Keep a process, this one if none is named, on one core, where there are two."""
    if len(_CORES) > 1:
        os.sched_setaffinity(pid, {_CORES[core]})


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Keep this process and what it starts on one core, on any if None, until the block ends."""
    before = os.sched_getaffinity(0)
    if core is None:
        os.sched_setaffinity(0, _CORES)
    else:
        pin(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cores() -> int:
    """On how many cores anything here may run."""
    return len(_CORES)


def may_open(files: int) -> bool:
    """Whether this process and what it starts may have so many files open; asks for it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        return False
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return True


@contextmanager
def running(
    command: Sequence[str],
    log: Path,
    *,
    core: int | None = None,
    env: Mapping[str, str] | None = None,
    wait_s: float = 60.0,
) -> Iterator[Started]:
    """The process until the block ends. ``core`` is where it is kept.

    Raises
    ------
    NotStartedError
        No first line came.
    """
    with log.open("w") as out, log.with_suffix(".err").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, *command], stdout=out, stderr=err, env=os.environ | dict(env or {})
        )
    if core is not None:
        pin(core, process.pid)
    try:
        yield Started(process.pid, _first_line(process, log, wait_s))
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _first_line(process: "subprocess.Popen[bytes]", log: Path, wait_s: float) -> Any:
    until = monotonic() + wait_s
    is_alive = True
    while is_alive and monotonic() < until:
        is_alive = process.poll() is None
        line, newline, _ = log.read_text().partition("\n")
        if newline:
            return json.loads(line)
        sleep(0.05)
    said = (log.read_text() + log.with_suffix(".err").read_text()).strip().splitlines()
    raise NotStartedError("\n".join(said[-3:]) or "it said nothing")


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, all living threads, to the nanosecond (Linux)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def memory_kib(pid: int, name: str) -> int:
    """A line of what the kernel says of a process's memory: ``VmRSS``, ``VmHWM`` (Linux).

    Raises
    ------
    RuntimeError
        It does not say.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    message = f"the kernel does not say {name}"
    raise RuntimeError(message)


class Caller:
    """One keep-alive connection that posts the same request again and again."""

    def __init__(self, url: str, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        host, _, port = url.rpartition("//")[2].partition(":")
        self._address = host, int(port)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{lines}"
        self._request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def __aenter__(self) -> "Caller":
        self._reader, self._writer = await asyncio.open_connection(*self._address, limit=1 << 26)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._writer.close()

    async def call(self) -> tuple[float, bytes]:
        """Seconds and body of one exchange.

        Raises
        ------
        RuntimeError
            The answer is neither 200 nor 303.
        """
        began = perf_counter()
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        body = await self._reader.readexactly(int(length[1]) if length else 0)
        took_s = perf_counter() - began
        if head.split(b" ", 2)[1] not in {b"200", b"303"}:
            raise RuntimeError((head + body).decode(errors="replace")[:2000])
        return took_s, body


async def load(callers: Sequence[Caller], seconds: float) -> int:
    """Let all call without pause for so long; the number of whole exchanges."""
    until = monotonic() + seconds

    async def repeat(caller: Caller) -> int:
        done = 0
        while monotonic() < until:
            await caller.call()
            done += 1
        return done

    return sum(await asyncio.gather(*(repeat(caller) for caller in callers)))


def variation(values: Sequence[float]) -> float:
    """Standard deviation over mean."""
    return statistics.stdev(values) / statistics.mean(values) if len(values) > 1 else 0.0


def versions() -> str:
    """What the numbers depend on."""
    found = [f"Python {sys.version.split()[0]}"]
    for name in ("aiohttp", "msgspec", "uvloop"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} absent")
    return ", ".join(found)


def machine() -> str:
    """What the numbers were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.partition(": ")[2] for line in lines if "model name" in line), model)
    return f"{len(_CORES)} cores of {model}, {platform.system()} {platform.release()}"
