"""The demo, run as people run it: on processes, in containers, and where there is no engine."""

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.engines import Engine, running_docker
from tests.support.required import required

RUN_S: Final = 240
"""Far longer than it takes: two cores may be shared with the rest of the tests."""

COMMAND: Final = (sys.executable, "-m", "gateway.cli.demo")
FIGURES: Final = ("moment0.png", "moment1.png", "spectrum.png")

pytestmark = pytest.mark.timeout(RUN_S + 30)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Where the demo is run; all that it makes for itself is gone afterwards."""
    (tmp_path / "tmp").mkdir()
    yield tmp_path
    assert list((tmp_path / "tmp").iterdir()) == []
    assert processes_of(tmp_path) == {}


@asynccontextmanager
async def demo(directory: Path, *argv: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The demo's process, told to stop itself and its services if the test leaves it running."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *argv,
        cwd=directory,
        env={**os.environ, "TMPDIR": str(directory / "tmp")},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(RUN_S):
            yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.communicate()


async def test_the_demo_shows_all_that_it_promises_and_can_be_used_until_a_signal(
    directory: Path,
) -> None:
    async with demo(directory, "--keep") as process:
        assert process.stdout is not None
        shown = ""
        while "--data-binary" not in shown:
            line = await process.stdout.readline()
            assert line, shown + (await process.communicate())[1].decode()
            shown += line.decode()
        account = dict(re.findall(r"(EXECBROKER_\w+)=(\S+)", shown))
        nodes = await client(account, "nodes")
        assert [node["name"] for node in nodes["nodes"]] == ["alpha", "beta", "gamma"]
        session = re.findall(r"results (\S+)", shown)[0]
        assert (await client(account, "results", session))["exit_code"] == 0
        asked = re.findall(r"submit (\S+)", shown)[0]
        again = await client(account, "submit", str(directory / asked), "--explain")
        assert again["offerset"]["result"] == "YES"
        assert {one["node"] for one in again["explanation"]["placements"]} == {
            "alpha", "beta", "gamma",
        }  # fmt: skip
        replayed = await client(
            account, "replay", again["explanation"]["offerset"], "--policy", "greenest"
        )
        assert replayed["candidates"][0]["node"] == "alpha"
        process.send_signal(signal.SIGTERM)
        out, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")
    check_story(shown + out.decode())
    check_results(directory)
    assert "processes of this machine" in shown


async def test_a_demo_that_is_stopped_while_its_session_runs_leaves_nothing(
    directory: Path,
) -> None:
    async with demo(directory) as process:
        assert process.stdout is not None
        line = b""
        while b"read input/galaxy.fits" not in line:
            line = await process.stdout.readline()
            assert line
        assert processes_of(directory)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert (process.returncode, err.decode()) == (130, "")


@pytest.fixture
def engine() -> Iterator[Engine]:
    is_there = shutil.which("dockerd") is not None and os.geteuid() == 0
    required("docker", is_there, "the demo in containers needs dockerd and root")
    with running_docker(has_network=False) as running:
        yield running


async def test_the_demo_runs_in_containers_where_there_is_an_engine(
    directory: Path, engine: Engine
) -> None:
    argv = ("--platform", "docker", "--socket", str(engine.path))
    async with demo(directory, *argv) as process:
        out, err = (text.decode() for text in await process.communicate())
    assert process.returncode == 0, out + err
    assert err == ""
    check_story(out)
    check_results(directory)
    assert "containers of Docker" in out
    assert "s  stderr" not in out  # nothing is missing that a notebook asks for
    assert engine.containers() == []
    assert engine.request("GET", "/images/json") == []


async def test_without_an_engine_the_demo_says_so(directory: Path) -> None:
    argv = ("--platform", "docker", "--socket", str(directory / "none.sock"))
    async with demo(directory, *argv) as process:
        out, err = (text.decode() for text in await process.communicate())
    assert (process.returncode, out) == (1, "")
    assert "no container engine" in err
    assert "DOCKER_HOST" in err


def check_story(out: str) -> None:
    """Everything that happened was told, in the right order, and well."""
    steps = (
        "What is asked", "Who answered", "best offers, and why", "How beta would run it",
        "Where the data are", "its only copy is on ES_RSE", "What it filled in for beta",
        "The nearest wins: beta", "Ranked as greenest", "Accept the best, beta", "RUNNING",
        "Python 3", "read input/galaxy.fits", "total flux", "COMPLETED", "exit code 0 (OK)",
        "checksums verified", "What the notebook found", "All that the archive sent",
        "What became of the other offers", "Stopped",
    )  # fmt: skip
    places = [out.find(step) for step in steps]
    assert -1 not in places, dict(zip(steps, places, strict=True))
    assert places == sorted(places)
    for basis, node in (("declared", "alpha"), ("measured", "beta"), ("geography", "gamma")):
        moved = r"0 B +0 s +1\.000" if node == "beta" else r"2\.1 MB +[\dmins ]+s +0\.\d{3}"
        assert re.search(rf"^\d  {node} .* {moved} +{basis} ", out, re.MULTILINE)
        assert re.search(rf"│ {node} +│ answered", out)
        assert f"  {node:<6} 0 holds and bookings left" in out
    offers = int(re.findall(r"The (\d+) best offers", out)[0])
    assert offers > 3
    assert out.count("is REJECTED") == offers - 1
    for amount in ("s of CPU", "MB of memory at its peak", "2.1 MB staged"):
        assert amount in out
    assert re.search(r"archive sent: (galaxy.fits 2.1 MB, cube|cube.ipynb [\d.]+ kB, galaxy)", out)
    far = r"of alpha \(staging 14 min \d+ s\): begin \+0\.\d+, [^:]* Beginning sooner decides"
    assert re.search(far, " ".join(out.split()))
    assert re.search(r"^1 +\d  up +alpha .* carbon \+", out, re.MULTILINE)
    assert "Stopped: gateway (0), gamma (0), beta (0), alpha (0)" in out
    # Commands to be copied are not broken, nor are lines of a log; all else fits a terminal.
    story, _, _ = out.partition("Left running")
    assert max(len(line.rstrip()) for line in story.splitlines() if "s  std" not in line) <= 120


def check_results(directory: Path) -> None:
    """What came out was saved: figures, and the notebook as it was executed."""
    (saved,) = (directory / "demo-results").iterdir()
    for name in FIGURES:
        assert (saved / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    notebook = json.loads((saved / "notebook.ipynb").read_text())
    printed = [
        "".join(output["text"])
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if output["output_type"] == "stream"
    ]
    assert any("total flux" in text for text in printed)
    assert "total flux" in (saved / "notebook.html").read_text()


async def client(account: Mapping[str, str], *argv: str) -> dict[str, Any]:
    """What a command of the client says, in another terminal."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.cli.main",
        argv[0],
        "--json",
        *argv[1:],
        env={**os.environ, **account},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    document: dict[str, Any] = json.loads(out)
    return document


def processes_of(directory: Path) -> dict[int, str]:
    """Processes whose command line names a directory."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(directory) in line:
                found[int(entry.name)] = line
    return found
