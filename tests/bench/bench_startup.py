"""What a start costs: CPU of each program until it can be used, against importing aiohttp alone.

Modules are compiled before, as they are wherever the programs are installed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.figures import Figure
from tests.bench.measure import running

_YARDSTICK: Final = ("-c", "import aiohttp")
_PROGRAMS: Final = {
    "execbroker-gateway": "gateway",
    "execbroker-node": "node_stub",
    "execbroker": "gateway.cli.main",
}
_PASSWORD: Final = {"ADMIN_PASSWORD": "benchmark"}
_COMMON: Final = """\
listen: 127.0.0.1:0
admin: {username: admin, password_env: ADMIN_PASSWORD}
"""
_SETTINGS: Final = {
    "execbroker-gateway": _COMMON + "public_url: http://127.0.0.1:8080\n",
    "execbroker-node": _COMMON
    + "name: alpha\ncapacity: {cores: 2, memory_gib: 2, storage_gib: 10}\n",
}


def figures(options: argparse.Namespace) -> Sequence[Figure]:
    """Until it listens, and until it has shown its help, in imports of aiohttp."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
        environ = os.environ | _PASSWORD | compiled
        starts = _starts(folder, environ)
        rounds = [
            {name: used_s() for name, used_s in starts.items()} for _ in range(options.rounds + 1)
        ][1:]  # the first one compiles
    return [
        Figure(
            f"start, {name}",
            "x import aiohttp",
            tuple(one[name] / one["yardstick"] for one in rounds),
        )
        for name in starts
        if name != "yardstick"
    ]


def _starts(folder: Path, environ: Mapping[str, str]) -> Mapping[str, Callable[[], float]]:
    """How to have each start once; each gives the CPU seconds that it took."""
    starts: dict[str, Callable[[], float]] = {"yardstick": partial(_ended, _YARDSTICK, environ)}
    for name, module in _PROGRAMS.items():
        starts[f"{name} --help"] = partial(_ended, ("-m", module, "--help"), environ)
    for name, settings in _SETTINGS.items():
        file = folder / f"{name}.yaml"
        file.write_text(settings)
        command = ("-m", _PROGRAMS[name], "serve", "--config", str(file))
        starts[f"{name} serve"] = partial(_listening, command, folder, environ)
    return starts


def _ended(arguments: Sequence[str], environ: Mapping[str, str]) -> float:
    """CPU seconds of a program that ends by itself.

    Raises
    ------
    RuntimeError
        It failed.
    """
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environ)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        message = f"{arguments} ended with {process.returncode}"
        raise RuntimeError(message)
    return used.ru_utime + used.ru_stime


def _listening(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> float:
    """CPU seconds of a service until it listens, on a database of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as data:
        arguments = (*command, "--data-dir", data)
        with running(arguments, Path(data) / "output", env=environ) as started:
            return _used_s(started.pid)


def _used_s(pid: int) -> float:
    """CPU seconds of a process, with threads that have ended, in steps of some 10 ms (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
