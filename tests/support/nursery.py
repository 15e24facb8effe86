"""Programs that start at once: what takes a second to import is imported once, then forked.

Each is a process of its own, as real as one started from a shell, and dies as one.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Final

from tests.support.waiting import until

START_S: Final = 40.0
STOP_S: Final = 15.0

_MODULES: Final = (
    "gateway.__main__",
    "node_stub.__main__",
    "tests.support.crash_gateway",
    "tests.support.crash_node",
    "tests.support.turned_node",
    "tests.support.later_gateway",
)
_LOADED: Final = (
    *("gateway.commands", "gateway.app", "gateway.httpkit.bearer.issuers"),
    *("node_stub.commands", "node_stub.app", "gateway.httpkit.serving"),
)
"""What the programs import only once they know what to do."""


class EndedAtStartError(Exception):
    """A program ended before it listened."""


@dataclass(frozen=True, slots=True)
class Child:
    """One running program."""

    pid: int
    url: str

    async def kill(self) -> None:
        """End it as a power cut would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to end, if it still runs, and wait until it has."""
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return
        await until(self.has_ended, STOP_S)

    def has_ended(self) -> bool:
        """Whether it runs no more."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False


class Nursery:
    """Starts programs; one process that has imported them all stands behind it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    async def start(
        self, module: str, data_dir: Path, listen: str, environ: Mapping[str, str]
    ) -> Child:
        """``serve`` of this module, with the settings in ``settings.yaml``; when it listens."""
        arguments = ["serve", "--config", str(data_dir / "settings.yaml")]
        arguments += ["--data-dir", str(data_dir)]
        return await self.run(module, [*arguments, "--listen", listen], data_dir, environ)

    async def run(
        self, module: str, arguments: Sequence[str], data_dir: Path, environ: Mapping[str, str]
    ) -> Child:
        """The module with any arguments; when it listens. ``data_dir`` gets its output and log.

        Raises
        ------
        EndedAtStartError
            It will never listen.
        """
        output = data_dir / "output"
        output.write_bytes(b"")
        order = {
            "module": module,
            "arguments": list(arguments),
            "data_dir": str(data_dir),
            "environ": dict(environ),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        child = Child(int(self._process.stdout.readline()), "")
        await until(lambda: output.read_bytes().endswith(b"\n") or child.has_ended(), START_S)
        if not (said := output.read_bytes()):
            raise EndedAtStartError
        return replace(child, url=json.loads(said)["url"])

    def clear(self) -> None:
        """End whatever still runs of all that it started."""
        _end_children_of(self._process.pid)


@contextmanager
def running_nursery() -> Iterator[Nursery]:
    """A nursery; what was started and not ended ends with it at the latest."""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.nursery"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    ) as process:
        yield Nursery(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(STOP_S)


def _serve_orders() -> None:
    programs = {name: import_module(name).main for name in _MODULES}
    for name in _LOADED:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel forgets those that have ended
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.environ.update(order["environ"])
            folder = Path(order["data_dir"])
            _redirect(0, Path(os.devnull), os.O_RDONLY)
            _redirect(1, folder / "output", os.O_WRONLY)
            _redirect(2, folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os._exit(programs[order["module"]](order["arguments"]))
        print(pid, flush=True)
    _end_children_of(os.getpid())


def _end_children_of(parent: int) -> None:
    """By what the kernel says: the number of one that has ended may be another's by now."""
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def _redirect(number: int, path: Path, flags: int) -> None:
    descriptor = os.open(path, flags, 0o600)
    os.dup2(descriptor, number)
    os.close(descriptor)


if __name__ == "__main__":
    _serve_orders()
