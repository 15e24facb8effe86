"""Container engines for tests: Docker Engine, Podman service and image registry, all private.

Each has its own directory, socket and network bridge, so that any number run side by side; each is
ended by its process id, and nothing of it is left. A pytest plugin: ``docker_engine`` and
``podman_engine`` are an :class:`Engine` for the whole test run, ``engine`` is both in turn,
``registry`` is the address of a registry on loopback that both may pull from. A test that stops and
starts an engine takes one of its own: ``private_engine`` (both in turn, no bridge). A missing
engine skips the test, or fails it where EB_REQUIRE names ``docker`` or ``podman``.

    engine.url        unix:///tmp/eb-…/engine.sock, for DockerSettings(socket=…)
    engine.name       docker or podman
    engine.request()  one call of its API, as a witness beside the code under test
    engine.stop() / engine.start()   the service only: its containers go on

Images are made by tests/support/images.py.
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from tests.support.bridges import Bridge, own_bridge, port_chains
from tests.support.required import required

START_S: Final = 20.0
STOP_S: Final = 20.0
CALL_S: Final = 30.0

ENGINES: Final = ("docker", "podman")
"""Each has one engine for all its tests, so they run in one process."""

NOFILE: Final = 20_000
"""Open files per container; Podman's default is above what a machine may allow."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("engine", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(slots=True)
class Engine:
    """One engine. ``root`` is all it has; it is removed with it."""

    name: str
    root: Path
    command: Sequence[str]
    environ: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def path(self) -> Path:
        """Its socket."""
        return self.root / "engine.sock"

    @property
    def url(self) -> str:
        """Its socket, as the settings name it."""
        return f"unix://{self.path}"

    def start(self) -> None:
        """Start the service and wait until it answers."""
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.environ,
                cwd=self.root,  # conmon leaves a file there when a container runs out of memory
                start_new_session=True,
            )
        process = self.process
        _wait(lambda: process.poll() is not None or self.answers(), START_S, self.log)
        assert process.poll() is None, self.log()

    def stop(self) -> None:
        """End the service; its containers go on."""
        if self.process is not None:
            _end(self.process)
            self.process = None
            self.path.unlink(missing_ok=True)

    def kill(self) -> None:
        """End the service as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_S)
            self.process = None
            self.path.unlink(missing_ok=True)
            # Docker's containerd has died with it, but is taken for alive until it is reaped.
            (self.root / "exec/containerd/containerd.pid").unlink(missing_ok=True)

    def answers(self) -> bool:
        """Whether anybody is there."""
        try:
            return self.call("GET", "/_ping")[0] == 200
        except OSError:
            return False

    def log(self) -> str:
        """The end of what the service has written."""
        return (self.root / "log").read_text(errors="replace")[-2000:]

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        /,
        **query: str,
    ) -> tuple[int, bytes]:
        """The status and body of one call of the Docker API."""
        connection = _UnixConnection(str(self.path), CALL_S)
        try:
            target = f"{path}?{urlencode(query)}" if query else path
            connection.request(method, target, body=body, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def request(self, method: str, path: str, document: Any = None, /, **query: str) -> Any:
        """The JSON answer to one call, which must succeed; None where it is empty."""
        body = None if document is None else json.dumps(document).encode()
        headers = {"Content-Type": "application/json"}
        status, answer = self.call(method, path, body, headers, **query)
        assert status < 300, (method, path, status, answer)
        return json.loads(answer) if answer.strip() else None

    def containers(self) -> list[dict[str, Any]]:
        """Every container, whoever made it, running or not."""
        found: list[dict[str, Any]] = self.request("GET", "/containers/json", all="true")
        return found

    def remove_containers(self) -> None:
        """End and remove every container."""
        for container in self.containers():
            self.call("DELETE", f"/containers/{container['Id']}", force="true", v="true")


def _wait(condition: Callable[[], bool], within_s: float, why: Callable[[], str]) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(0.02)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)
        raise


@contextmanager
def _directory() -> Iterator[Path]:
    """A directory with a short name: the path of a socket has at most 107 bytes."""
    root = Path(tempfile.mkdtemp(prefix="eb-", dir="/tmp"))
    try:
        yield root
    finally:
        try:
            _wait(lambda: not _processes_of(root), STOP_S, lambda: f"left: {_processes_of(root)}")
        finally:
            for pid in _processes_of(root):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for mount in _mounts_below(root):
                subprocess.run(["umount", "--lazy", mount], check=True, timeout=STOP_S)
            shutil.rmtree(root)


def _mounts_below(root: Path) -> list[str]:
    """Mount points, the deepest first."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1] for line in lines]
    return sorted((point for point in points if point.startswith(f"{root}/")), reverse=True)


def _processes_of(root: Path) -> dict[int, str]:
    """Processes whose command line names this directory."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(root) in line:
                found[int(entry.name)] = line
    return found


@contextmanager
def running_docker(*, has_network: bool = True) -> Iterator[Engine]:
    """A Docker Engine of one's own; without network it is quicker, and no port can be published."""
    with ExitStack() as stack:
        root = stack.enter_context(_directory())
        bridge = stack.enter_context(own_bridge()).name if has_network else "none"
        command = (
            "dockerd",
            f"--data-root={root}/data",
            f"--exec-root={root}/exec",
            f"--pidfile={root}/pid",
            f"--host=unix://{root}/engine.sock",
            f"--bridge={bridge}",
            "--iptables=false",
            "--ip6tables=false",
            "--live-restore",
        )
        yield from _running(Engine("docker", root, command))


@contextmanager
def running_podman(registry: str | None = None, *, has_network: bool = True) -> Iterator[Engine]:
    """A Podman service of one's own, which may pull from this registry without TLS."""
    with ExitStack() as stack:
        root = stack.enter_context(_directory())
        bridge = stack.enter_context(own_bridge()) if has_network else Bridge("unused", "10.213.0")
        if has_network:
            stack.enter_context(port_chains())
        _write_podman_settings(root, bridge, registry)
        command = ("podman", "system", "service", "--time=0", f"unix://{root}/engine.sock")
        environ = {
            "CONTAINERS_CONF": f"{root}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{root}/storage.conf",
            "CONTAINERS_REGISTRIES_CONF": f"{root}/registries.conf",
            # Asked what it is, Podman has dpkg find its packages: half a second each time.
            "DPKG_ADMINDIR": f"{root}/no-packages",
        }
        yield from _running(Engine("podman", root, command, environ))


def _running(engine: Engine) -> Iterator[Engine]:
    engine.start()
    try:
        yield engine
    finally:
        if engine.process is None:
            engine.start()
        engine.remove_containers()
        engine.stop()


def _write_podman_settings(root: Path, bridge: Bridge, registry: str | None) -> None:
    (root / "containers.conf").write_text(
        f"""
[containers]
default_ulimits = ["nofile={NOFILE}:{NOFILE}", "nproc=30000:30000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "{root}/tmp"
volume_path = "{root}/volumes"
[network]
network_backend = "cni"
network_config_dir = "{root}/cni"
default_network = "podman"
"""
    )
    (root / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{root}/data"\nrunroot = "{root}/run"\n'
    )
    insecure = f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n' if registry else ""
    (root / "registries.conf").write_text(insecure)
    network = {
        "cniVersion": "0.4.0",
        "name": "podman",
        "plugins": [
            {
                "type": "bridge",
                "bridge": bridge.name,
                "isGateway": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": f"{root}/addresses",
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "ranges": [[{"subnet": f"{bridge.subnet}.0/24"}]],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    (root / "cni").mkdir()
    (root / "cni" / "87-podman.conflist").write_text(json.dumps(network))


@contextmanager
def running_registry() -> Iterator[str]:
    """The address, host and port, of an empty registry that speaks HTTP on loopback."""
    with _directory() as root:
        settings = {
            "version": "0.1",
            "log": {"level": "info", "formatter": "json"},
            "storage": {"filesystem": {"rootdirectory": f"{root}/images"}},
            "http": {"addr": "127.0.0.1:0"},
        }
        (root / "settings.yml").write_text(json.dumps(settings))
        output = root / "log"
        with output.open("wb") as log:
            process = subprocess.Popen(
                ["docker-registry", "serve", str(root / "settings.yml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            listening = re.compile(r"listening on (127\.0\.0\.1:\d+)")
            _wait(lambda: bool(listening.search(output.read_text())), START_S, output.read_text)
            found = listening.search(output.read_text())
            assert found is not None
            yield found[1]
        finally:
            # Not by SIGINT: what a shell starts in the background ignores it, and Go leaves it so.
            _end(process)


def _need(platform: str, *programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if os.geteuid() != 0:
        missing.append("the rights of root")
    required(platform, not missing, f"missing: {', '.join(missing)}")


def _need_engine(name: str) -> None:
    if name == "docker":
        _need("docker", "dockerd", "runc", "ip")
    else:
        _need("podman", "podman", "conmon", "runc", "ip", "iptables")


@pytest.fixture(scope="session")
def registry() -> Iterator[str]:
    """The address of a registry on loopback, for all tests of this process."""
    _need("docker", "docker-registry")
    with running_registry() as address:
        yield address


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Engine]:
    """A Docker Engine for all tests of this process."""
    _need_engine("docker")
    with running_docker() as running:
        yield running


@pytest.fixture(scope="session")
def podman_engine(registry: str) -> Iterator[Engine]:
    """A Podman service for all tests of this process."""
    _need_engine("podman")
    with running_podman(registry) as running:
        yield running


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ENGINES]
)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Both engines, one after the other. What a test leaves on it is an error of that test."""
    found: Engine = request.getfixturevalue(f"{request.param}_engine")
    return found


@pytest.fixture(params=ENGINES)
def private_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine that this test may stop and start; no network."""
    _need_engine(request.param)
    running = running_docker if request.param == "docker" else running_podman
    with running(has_network=False) as found:
        yield found
