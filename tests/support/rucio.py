"""A real Rucio for tests: a server of its own on SQLite, with six sites and data made to be tricky.

It runs from a venv that ``.ci/rucio`` makes, since it pins libraries that ours must not. Everything
is on loopback and in one temporary folder. A pytest plugin: ``rucio`` is a seeded
:class:`RucioServer` for the whole test run. A test that stops or pauses it uses the methods of the
server, and gives it back running; all of them are in the xdist group ``rucio``.
"""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.required import required

ROOT: Final = Path(__file__).parents[2]
ACCOUNT: Final = "root"
USERNAME: Final = "ddmlab"
PASSWORD: Final = "secret"

START_S: Final = 60.0
STOP_S: Final = 15.0
CALL_S: Final = 30.0

_LOGGING: Final = """
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = plain
[logger_root]
level = WARN
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = plain
[formatter_plain]
format = %(levelname)s %(message)s
"""
_BUILD: Final = (
    "from rucio.db.sqla.util import build_database, create_base_vo, create_root_account\n"
    "build_database(); create_base_vo(); create_root_account()\n"
)
_SERVE: Final = (
    "import sys\n"
    "from werkzeug.serving import run_simple\n"
    "from rucio.web.rest.flaskapi.v1.main import application\n"
    "run_simple('127.0.0.1', int(sys.argv[1]), application, threaded=True)\n"
)


def python_of_rucio() -> Path:
    """The interpreter that has Rucio; it need not exist."""
    venv = os.environ.get("EB_RUCIO_VENV", str(ROOT / ".cache" / "rucio-venv"))
    return Path(venv) / "bin" / "python"


@dataclass(slots=True)
class RucioServer:
    """One server; ``root`` is all it has.

    It believes an OIDC issuer on ``issuer_port``, which need not be there until its first token is.
    """

    root: Path
    port: int
    issuer_port: int
    process: subprocess.Popen[bytes] | None = None
    token: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """Where it is, for data and for logging in."""
        return f"http://127.0.0.1:{self.port}"

    def build(self) -> None:
        """Write its settings and make its database."""
        (self.root / "etc").mkdir()
        database = f"sqlite:///{self.root}/rucio.db"
        migrations = "[alembic]\nscript_location = rucio.db.sqla:migrate_repo\n"
        alembic = f"{migrations}sqlalchemy.url = {database}\n{_LOGGING}"
        (self.root / "etc" / "alembic.ini").write_text(alembic)
        sections: dict[str, dict[str, str]] = {
            "common": {"loglevel": "ERROR"},  # every JSON boolean is a warning
            "database": {"default": database},
            "cache": {"url": "127.0.0.1:1"},  # refused: two databases must not share a memcached
            "policy": {"permission": "generic", "schema": "generic"},
            "bootstrap": {
                "userpass_identity": USERNAME,
                "userpass_pwd": PASSWORD,
                "userpass_email": "nobody@example.org",
                # Left out, they would be identities of CERN's.
                "x509_identity": "",
                "gss_identity": "",
                "ssh_identity": "",
            },
            "alembic": {"cfg": f"{self.root}/etc/alembic.ini"},
            "oidc": {"idpsecrets": f"{self.root}/etc/idpsecrets.json", "admin_issuer": "stub"},
        }
        (self.root / "etc" / "idpsecrets.json").write_text(json.dumps({"stub": self._issuer()}))
        lines = (
            line
            for name, entries in sections.items()
            for line in (f"[{name}]", *(f"{key} = {value}" for key, value in entries.items()))
        )
        (self.root / "etc" / "rucio.cfg").write_text("\n".join(lines) + "\n")
        subprocess.run(
            [python_of_rucio(), "-W", "ignore", "-c", _BUILD],
            env=self._environ(),
            check=True,
            capture_output=True,
            timeout=START_S,
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        assert self.process is None
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [python_of_rucio(), "-W", "ignore", "-c", _SERVE, str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ(),
            )
        deadline = time.monotonic() + START_S
        while not self.answers():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def stop(self) -> None:
        """End it, however it is, and wait until it has ended."""
        if self.process is not None:
            self.resume()
            self.process.kill()
            self.process.wait(STOP_S)
            self.process = None

    def pause(self) -> None:
        """Let it hang: connections are taken and nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    def answers(self) -> bool:
        """Whether anybody is there."""
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=2) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def forget_logins(self) -> None:
        """Make every token that it gave out worthless.

        It remembers good ones in its memory for 15 minutes, so that it has to be started anew.
        """
        self.stop()
        with closing(sqlite3.connect(self.root / "rucio.db", timeout=CALL_S)) as database, database:
            database.execute("DELETE FROM tokens")
        self.token = ""
        self.start()

    def logins(self) -> int:
        """How many tokens it has given out and not forgotten."""
        with closing(sqlite3.connect(self.root / "rucio.db", timeout=CALL_S)) as database:
            (count,) = database.execute("SELECT count(*) FROM tokens").fetchone()
        return int(count)

    def requests(self) -> int:
        """How many requests it has answered."""
        return (self.root / "log").read_text(errors="replace").count(' HTTP/1.1" ')

    def add_account(self, name: str, password: str) -> None:
        """Add an ordinary account, of which the user has the same name."""
        described = {"type": "USER", "email": "nobody@example.org"}
        self.call("POST", f"/accounts/{name}", described)
        identity = {"X-Rucio-Username": name, "X-Rucio-Password": password}
        headers = {"X-Rucio-Auth-Token": self.token, "X-Rucio-Email": described["email"]}
        request = urllib.request.Request(
            f"{self.url}/identities/{name}/userpass", method="PUT", headers=headers | identity
        )
        with urllib.request.urlopen(request, timeout=CALL_S) as reply:
            assert reply.status == 201

    def bind(self, identity: str, account: str) -> None:
        """Let the bearer of an OIDC identity (``SUB=…, ISS=…``) be this account."""
        described = {"identity": identity, "authtype": "OIDC", "email": "nobody@example.org"}
        self.call("POST", f"/accounts/{account}/identities", described | {"default": True})

    def log_in(self) -> None:
        """Take a token for ``call``."""
        headers = {
            "X-Rucio-Account": ACCOUNT,
            "X-Rucio-Username": USERNAME,
            "X-Rucio-Password": PASSWORD,
        }
        request = urllib.request.Request(f"{self.url}/auth/userpass", headers=headers)
        with urllib.request.urlopen(request, timeout=CALL_S) as reply:
            self.token = reply.headers["X-Rucio-Auth-Token"]

    def call(self, method: str, path: str, body: object = None, ok: int = 201) -> list[Any]:
        """One call as root; the answer's lines as JSON."""
        if not self.token:
            self.log_in()
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Rucio-Auth-Token": self.token, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=CALL_S) as reply:
                assert reply.status == ok, (path, reply.status)
                return [
                    json.loads(line) for line in reply.read().splitlines() if line != b"Created"
                ]
        except urllib.error.HTTPError as error:
            with error:
                pytest.fail(f"{path}: {error.code} {error.read()[:400]!r}")

    def log(self) -> str:
        """The end of what it wrote."""
        return (self.root / "log").read_text(errors="replace")[-4000:]

    def _issuer(self) -> dict[str, Any]:
        client = {"client_id": "rucio", "client_secret": "rucio-secret"}
        return client | {
            "issuer": f"http://127.0.0.1:{self.issuer_port}/",
            "redirect_uris": [f"{self.url}/auth/oidc_code"],
            "SCIM": client | {"registration_access_token": "none"},
        }

    def _environ(self) -> dict[str, str]:
        settings = {"RUCIO_CONFIG": f"{self.root}/etc/rucio.cfg", "RUCIO_HOME": str(self.root)}
        return {"PATH": os.environ.get("PATH", ""), "HOME": str(self.root)} | settings


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def rucio() -> Iterator[RucioServer]:
    """A seeded server for the whole run; missing, the test is not run (``EB_REQUIRE=rucio``)."""
    from tests.support.rucio_seed import seed  # noqa: PLC0415  # it needs this module's class

    python = python_of_rucio()
    required("rucio", python.exists(), f"{python} is not there; .ci/rucio makes it")
    with tempfile.TemporaryDirectory(prefix="eb-rucio-") as folder:
        server = RucioServer(Path(folder), _free_port(), _free_port())
        server.build()
        server.start()
        try:
            seed(server)
            yield server
        finally:
            server.stop()
