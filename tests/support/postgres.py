"""A real PostgreSQL for tests: a server of its own on loopback, ended with the test run.

``postgres`` is one server for the whole run (each worker of xdist has its own), with a schema for
each test that wants one, ``postgres_url``. A test that stops, pauses or crashes a server takes one
of its own::

    with running_postgres() as server:
        url = server.create_schema()        # postgresql://gateway@127.0.0.1:PORT/…
        server.pause(); server.resume()     # every process of it stands still
        server.stop(); server.start()       # in order, on the same port and data
        server.crash(); server.start()      # as a power cut, with recovery

Where PostgreSQL is missing its tests are skipped, or fail where EB_REQUIRE names ``postgres``.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from tests.support.required import required

START_S: Final = 30.0
STOP_S: Final = 15.0
CALL_S: Final = 15.0

USER: Final = "gateway"
"""Owns everything, and needs no password."""

SECURED: Final = "secured"
"""A user who must say ``PASSWORD``."""

PASSWORD: Final = "correct horse"  # of a server that lives for one test run

_ACCESS: Final = """
host all secured 127.0.0.1/32 scram-sha-256
host all all     127.0.0.1/32 trust
"""

_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "16MB",
    "autovacuum": "off",
    "log_min_messages": "warning",
}

_QUICK: Final = {"fsync": "off", "full_page_writes": "off"}
"""For tests that cut no power."""


def programs() -> Path:
    """Where the server's programs are; the directory need not exist."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    on_path = shutil.which("initdb")
    if found:
        return found[-1]
    return Path(on_path).resolve().parent if on_path else Path("/usr/lib/postgresql/bin")


@dataclass(slots=True)
class PostgresServer:
    """One server; ``root`` is all it has."""

    root: Path
    port: int
    settings: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    names: Iterator[int] = field(default_factory=count)

    def build(self) -> None:
        """Make its data."""
        command = [*self._as_other_user(), str(programs() / "initdb"), "--no-sync"]
        command += ["--pgdata", str(self._data), "--username", USER, "--auth", "trust"]
        command += ["--encoding", "UTF8", "--no-locale"]
        subprocess.run(command, check=True, capture_output=True, timeout=START_S, cwd=self.root)
        (self._data / "pg_hba.conf").write_text(_ACCESS)

    def start(self) -> None:
        """Start it and wait until it answers; on the main thread, as it ends with its thread."""
        assert self.process is None
        assert threading.current_thread() is threading.main_thread()
        command = [*self._as_other_user(), str(programs() / "postgres"), "-D", str(self._data)]
        for name, value in {**_SETTINGS, **self.settings, "port": str(self.port)}.items():
            command += ["-c", f"{name}={value}"]
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.root
            )
        deadline = time.monotonic() + START_S
        while not self._is_ready():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.01)

    def stop(self) -> None:
        """End it in order; whoever is connected is cut off."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """End it as a power cut would, but for what the kernel still writes."""
        self._end(signal.SIGQUIT)

    def pause(self) -> None:
        """Have all of it stand still: connections stay, nobody answers."""
        for pid in self._processes():
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Have all of it go on."""
        for pid in self._processes():
            os.kill(pid, signal.SIGCONT)

    def create_database(self, name: str = "") -> str:
        """A new empty database; its URL. It lasts as long as the server."""
        name = name or f"db_{next(self.names)}"
        self.ask(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def create_schema(self) -> str:
        """Room for one gateway, made in a tenth of a database's time; its URL."""
        name = f"schema_{next(self.names)}"
        self.ask(f"CREATE SCHEMA {name}")
        return f"{self.url('postgres')}?search_path={name}"

    def drop_schema(self, url: str) -> None:
        """Remove what ``create_schema`` made."""
        self.ask(f"DROP SCHEMA {url.rpartition('=')[2]} CASCADE")

    def url(self, name: str, user: str = USER) -> str:
        """The URL of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{name}"

    def ask(self, sql: str, database: str = "postgres") -> str:
        """Run a statement as a witness beside the code under test; what it gave, as text."""
        return self.run("psql", "-X", "-q", "-A", "-t", "-c", sql, database=database).strip()

    def run(self, program: str, *arguments: str, database: str = "postgres") -> str:
        """Run one of PostgreSQL's own clients on a database; its output.

        Raises
        ------
        subprocess.CalledProcessError
            It failed.
        """
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database]
        done = subprocess.run(
            [str(programs() / program), *address, *arguments],
            check=True,
            capture_output=True,
            text=True,
            timeout=CALL_S,
        )
        return done.stdout

    def log(self) -> str:
        """The end of what it wrote."""
        return (self.root / "log").read_text()[-2000:]

    @property
    def _data(self) -> Path:
        return self.root / "data"

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self.resume()
        self.process.send_signal(number)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_S)
        self.process = None

    def _is_ready(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def _processes(self) -> list[int]:
        """Itself and its children; each of these is a leader of its own group."""
        if self.process is None or self.process.poll() is not None:
            return []
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def _as_other_user(self) -> list[str]:
        """It does not run as root, and does not outlive us."""
        guard = ["setpriv", "--pdeathsig", "INT"]
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.root, user.pw_uid, user.pw_gid)
            guard += ["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        return guard


@contextmanager
def running_postgres(*, is_durable: bool = False, **settings: str) -> Iterator[PostgresServer]:
    """A server of one's own; ``is_durable`` writes to the disk, for tests that cut the power."""
    found = (programs() / "postgres").exists()
    required("postgres", found, "PostgreSQL's server programs are not installed")
    root = Path(tempfile.mkdtemp(prefix="eb-postgres-"))
    server = PostgresServer(root, _free_port(), ({} if is_durable else _QUICK) | settings)
    try:
        server.build()
        server.start()
        server.ask(f"CREATE ROLE {SECURED} LOGIN PASSWORD '{PASSWORD}'")
        yield server
    finally:
        server.stop()
        shutil.rmtree(root)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for the whole run; not to be stopped."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """An empty schema for one test."""
    url = postgres.create_schema()
    yield url
    postgres.drop_schema(url)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
