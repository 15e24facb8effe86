"""Jobs for the local runner: a bench that makes, runs and clears them, and says what is left."""

import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.clock import Clock, SystemClock
from node_stub.platforms.base import JobPhase, Observation, Stream
from node_stub.platforms.local.process_tree import descendants, start_time
from node_stub.platforms.local.runner import LocalRunner
from node_stub.platforms.local.settings import LocalSettings, ProgramSettings
from node_stub.platforms.local.setup import Setup
from node_stub.platforms.local.shim_files import RUN_FILE
from node_stub.platforms.local.supervision import marked
from node_stub.platforms.runner import Mount, Runner, RunSpec, Workspace
from tests.support.waiting import eventually

DIGEST: Final = "sha256:" + "0" * 64
"""Of the images that the programs here stand for."""

SHELL: Final = ProgramSettings(images=("site/shell:1",), digest=DIGEST, command=("/bin/sh", "-c"))
"""A shell: the request's first argument is what it does."""

PRINTER: Final = ProgramSettings(
    images=("site/printer:1",), digest=DIGEST, command=("/usr/bin/printf", "%s\\0")
)
"""Shows its arguments as it got them, each with a zero at its end."""

OVER: Final = frozenset({JobPhase.ENDED, JobPhase.LOST, JobPhase.GONE})

STUBBORN: Final = """
trap '' TERM HUP INT
( setsid sh -c 'trap "" TERM HUP; (sleep 777 &) ; sleep 778' & )
env -i setsid setsid sleep 779 &
sleep 776 &
echo started
wait
"""
"""Ignores what asks it to end, forks twice, makes sessions of its own, and hides its mark."""


class Bench:
    """A runner and its jobs. Use `close` to clear up: it complains of what is left."""

    def __init__(self, root: Path, settings: LocalSettings, clock: Clock | None = None) -> None:
        self.root = root
        self.runner = LocalRunner(settings, root, clock or SystemClock())
        self.hints: list[UUID] = []
        self._specs: list[RunSpec] = []
        self._trees: set[tuple[int, int]] = set()

    @property
    def setup(self) -> Setup:
        """What was found to work."""
        assert self.runner._setup is not None
        return self.runner._setup

    def spec(self, *command: str, image: str = "site/shell:1", **over: Any) -> RunSpec:
        """A job of a site's program, with its directories made as the platform makes them."""
        executable: Document = {
            "kind": kinds.DOCKER_CONTAINER,
            "image": {"locations": [image]},
            "command": list(command),
            **over.pop("executable", {}),
        }
        return self.spec_of(executable, **over)

    def spec_of(self, executable: Document, **over: Any) -> RunSpec:
        """A job of any executable."""
        session = uuid4()
        workspace = Workspace(session, self.root / str(session))
        workspace.home.mkdir(parents=True)
        workspace.home.chmod(0o777)
        values: dict[str, Any] = {
            "cores": 1,
            "memory_gib": 1,
            "storage_gib": 1,
            "end_at": datetime.now(UTC) + timedelta(seconds=60),
            "mounts": (),
            "log_bytes": 1_000_000,
        }
        spec = RunSpec(workspace=workspace, executable=executable, **{**values, **over})
        self._specs.append(spec)
        return spec

    def volume(self, spec: RunSpec, name: str, **files: str) -> Path:
        """A directory of the job's storage with some files in it."""
        path = spec.workspace.storage / name
        path.mkdir(parents=True)
        path.chmod(0o777)
        for file, text in files.items():
            (path / file).write_text(text)
        return path

    async def start(self, spec: RunSpec) -> None:
        """Prepare and launch."""
        await self.runner.prepare(spec)
        await self.runner.launch(spec)

    async def look(self, spec: RunSpec) -> Observation:
        """One look at one job."""
        return (await self.runner.observe([spec.workspace]))[spec.session]

    async def end(self, spec: RunSpec, within_s: float = 20.0) -> Observation:
        """What is seen of the job when it is over."""

        async def look() -> Observation | None:
            seen = await self.look(spec)
            return seen if seen.phase in OVER else None

        seen = await eventually(look, within_s)
        assert seen is not None
        return seen

    async def run(self, spec: RunSpec, within_s: float = 20.0) -> Observation:
        """Start it and wait for its end."""
        await self.start(spec)
        return await self.end(spec, within_s)

    def out(self, spec: RunSpec) -> str:
        """What it has written to its standard output."""
        path = spec.workspace.log(Stream.STDOUT)
        return path.read_text() if path.exists() else ""

    def err(self, spec: RunSpec) -> str:
        """What it has written to its standard error."""
        return spec.workspace.log(Stream.STDERR).read_text()

    async def says(self, spec: RunSpec, word: str, within_s: float = 10.0) -> None:
        """Wait until a word is in the output."""

        async def look() -> bool:
            return word in self.out(spec)

        await eventually(look, within_s)

    def shim(self, spec: RunSpec) -> int:
        """The process that has the job."""
        pid: int = json.loads((spec.workspace.run / RUN_FILE).read_text())["pid"]
        return pid

    def tree(self, spec: RunSpec) -> set[tuple[int, int]]:
        """The job's processes with the times when they began; remembered until the end."""
        found = set()
        for pid in descendants(self.shim(spec)):
            with contextlib.suppress(OSError):
                found.add((pid, start_time(pid)))
        self._trees |= found
        return found

    def living(self) -> set[int]:
        """Of all the processes that were ever looked at or bear our mark, those that still live."""
        marks = {pid for spec in self._specs for pid in marked(spec.session)}
        return marks | {pid for pid, began in self._trees if is_alive(pid, began)}

    async def close(self) -> None:
        """Release all, and check that nothing is left."""
        for spec in self._specs:
            await self.runner.release(spec.workspace)
        groups = [self.setup.groups.paths(spec.session) for spec in self._specs]
        left = self.living()
        found = await self.runner.recover()
        await self.runner.close()
        assert not left
        assert not any(groups)
        assert list(found) == []


def as_runner(runner: LocalRunner) -> Runner:
    """The same, for the type checker: it is a runner."""
    return runner


def is_alive(pid: int, began: int) -> bool:
    """Whether that very process still runs."""
    try:
        return start_time(pid) == began
    except OSError:
        return False


def lines(texts: Sequence[str]) -> str:
    """A script of several lines."""
    return "\n".join(texts)


def read_write(source: Path, target: str) -> Mount:
    """A volume that may be written to."""
    return Mount(source, target, is_read_only=False)


def read_only(source: Path, target: str) -> Mount:
    """A volume that may not."""
    return Mount(source, target, is_read_only=True)
