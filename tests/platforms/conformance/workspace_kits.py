"""Kits of the adapters whose jobs run in directories of ours: programs of this machine, containers.

All run the same shell scripts, those in ``jobs``.
"""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, Final
from uuid import UUID

import yaml

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.clock import SystemClock
from node_stub.config import load_node_settings
from node_stub.platform_factory import WORKSPACES_DIR, build_platform
from node_stub.platforms.base import Platform
from node_stub.platforms.docker.settings import INPUT_DIRECTORY
from tests.platforms.conformance.behaviours import EXIT_CODE, LOG_BYTES, LOG_LIMIT, Behaviour
from tests.platforms.conformance.kits import (
    GRACE_S,
    MOMENT_S,
    WHILE_S,
    Kit,
    data_at,
    request_for,
)
from tests.platforms.conformance.witnesses import MARK
from tests.support.engines import Engine
from tests.support.images import BUSYBOX
from tests.support.node import ADMIN, process_config

JOBS: Final = Path(__file__).parent / "jobs"

LONG_S: Final = 1000
"""How long a job lasts that lasts: until somebody ends it."""

_SCRIPTS: Final[dict[Behaviour, tuple[str, ...]]] = {
    Behaviour.ENDS_WELL: ("ends.sh", "0"),
    Behaviour.ENDS_BADLY: ("ends.sh", str(EXIT_CODE)),
    Behaviour.LASTS_A_MOMENT: ("lasts.sh", str(MOMENT_S)),
    Behaviour.LASTS_A_WHILE: ("lasts.sh", str(WHILE_S)),
    Behaviour.LASTS: ("lasts.sh", str(LONG_S)),
    Behaviour.STOPS_SLOWLY: ("slow.sh",),
    Behaviour.IS_STUBBORN: ("stubborn.sh",),
    Behaviour.TAKES_TOO_MUCH_MEMORY: ("memory.sh",),
    Behaviour.WRITES_A_HUGE_LOG: ("log.sh", str(LOG_BYTES)),
}

_NOTEBOOKS: Final = {
    Behaviour.HAS_A_BAD_NOTEBOOK: "bad.ipynb",
    Behaviour.HAS_NO_NOTEBOOK: "missing.ipynb",
}


class WorkspaceKit(Kit):
    """Runs shell scripts."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.sources: Final = data_dir / "sources"
        self.sources.mkdir()
        (self.sources / "data.dat").write_bytes(b"not what it should be")
        (self.sources / "bad.ipynb").write_text("this is no notebook")

    @abstractmethod
    def platform_section(self) -> Document:
        """The section ``platform``."""

    @abstractmethod
    def shell(self, *arguments: str) -> Document:
        """An executable that is a shell with these arguments."""

    def sections(self) -> Document:
        return {
            "platform": self.platform_section(),
            "workspace": {"log_mib": LOG_LIMIT >> 20, "stop_grace_s": GRACE_S},
            "staging": {
                "schemes": ["file", "http"],
                "hosts": ["127.0.0.1"],
                "private_addresses": True,
                "file_roots": [str(self.sources)],
                "attempts": 2,
                "backoff_s": 0.05,
                # Otherwise the start would be put off for as long as it might take.
                "default_size_gib": 0.001,
            },
        }

    def platform(self) -> Platform:
        file = self.data_dir / "kit.yaml"
        file.write_text(yaml.safe_dump(process_config(**self.sections())))
        settings = load_node_settings(file, {"ADMIN_PASSWORD": ADMIN.password})
        return build_platform(settings, self.data_dir, self.archive, SystemClock())

    def request(self, behaviour: Behaviour) -> Document:
        if behaviour is Behaviour.HAS_BAD_DATA:
            well = self._scripted(Behaviour.ENDS_WELL)
            return request_for(well, data=[self._bad_data()])
        if behaviour in _NOTEBOOKS:
            location = (self.sources / _NOTEBOOKS[behaviour]).as_uri()
            return request_for({"kind": kinds.JUPYTER_NOTEBOOK, "location": location})
        return request_for(self._scripted(behaviour))

    def slow_request(self, url: str) -> Document:
        return request_for(self._scripted(Behaviour.ENDS_WELL), data=[data_at(url)])

    async def runs(self, session: UUID) -> int:
        """Every run adds a line to a file, which is a result afterwards."""
        live = self.data_dir / WORKSPACES_DIR / str(session) / "home" / "ran"
        report = await self.archive.report(session)
        names = [file.path for file in report.files] if report is not None else []
        kept = [await self.archive.file(session, name) for name in names if name.endswith("ran")]
        found = [path for path in (live, *kept) if path is not None and path.exists()]
        return sum(path.read_text().count("ran\n") for path in found)

    def _scripted(self, behaviour: Behaviour) -> Document:
        name, *arguments = _SCRIPTS[behaviour]
        executable = self.shell("-c", (JOBS / name).read_text(), name, *arguments)
        return executable | {"environment": {MARK: self.mark}}

    def _bad_data(self) -> Document:
        return {
            "kind": kinds.SKAO_DATA,
            "meta": {"name": "input"},
            "ivoa": {"ivoid": "ivo://eb.test/data?input"},
            "skao": {
                "namespace": "testing",
                "objectname": "data.dat",
                "objecttype": "FILE",
                "datasize": (self.sources / "data.dat").stat().st_size,
                "checksum": {"type": "md5", "value": "0" * 32},
                "replicas": [{"rsename": "HERE", "dataurl": (self.sources / "data.dat").as_uri()}],
            },
        }


DIGEST: Final = "sha256:" + "1" * 64
"""Of all images here that are not real."""


def _program(name: str, command: str) -> Document:
    return {"images": [f"eb.test/{name}:1"], "digest": DIGEST, "command": [command]}


def _container(name: str, *command: str) -> Document:
    image = {"locations": [f"eb.test/{name}:1"], "digest": DIGEST}
    return {"kind": kinds.DOCKER_CONTAINER, "image": image, "command": [*command]}


class LocalKit(WorkspaceKit):
    """Programs of this machine: ``/bin/sh``, and one that is not there."""

    refuses = frozenset({Behaviour.HAS_A_BAD_IMAGE, Behaviour.HAS_A_BAD_COMMAND})
    backstop_s = 0.5 + GRACE_S
    sandbox: ClassVar[str]
    notebook: ClassVar[Document | None] = None

    def platform_section(self) -> Document:
        return {
            "type": "local",
            "sandbox": self.sandbox,
            "programs": [
                _program("shell", "/bin/sh"),
                _program("bad", "/nonexistent/program"),
            ],
            "notebook": self.notebook,
            "grace_s": GRACE_S,
            "backstop_s": 0.5,
        }

    def request(self, behaviour: Behaviour) -> Document:
        if behaviour is Behaviour.HAS_A_BAD_IMAGE:
            return request_for(_container("unknown"))
        if behaviour is Behaviour.HAS_A_BAD_COMMAND:
            return request_for(_container("bad"))
        return super().request(behaviour)

    def shell(self, *arguments: str) -> Document:
        return _container("shell", *arguments)


class BubblewrapKit(LocalKit):
    """In bubblewrap."""

    sandbox = "bubblewrap"


class NotebookKit(BubblewrapKit):
    """In bubblewrap, with notebooks: it takes a while to find out which Python can run them."""

    notebook: ClassVar[Document | None] = {}


class NamespacesKit(LocalKit):
    """In namespaces made without a program."""

    sandbox = "namespaces"


class PlainKit(LocalKit):
    """Without a sandbox, with limits."""

    sandbox = "plain"


class DockerKit(WorkspaceKit):
    """Containers of one engine, from an image that is busybox and nothing else.

    ``image`` is the id of :data:`tests.support.images.BUSYBOX` on that engine.
    """

    # An engine ends nothing by the clock: that is done when the broker is back.

    def __init__(self, data_dir: Path, engine: Engine, image: str) -> None:
        super().__init__(data_dir)
        self.engine: Final = engine
        self._image: Final = image

    def platform_section(self) -> Document:
        return {
            "type": "docker",
            "socket": self.engine.url,
            "pull_retry_s": 0.1,
            "pull_estimate_s": 1,
            "notebook": {
                "image": BUSYBOX,
                # As much of a notebook as busybox can read.
                "command": ["/bin/grep", "-q", "cells", f"{INPUT_DIRECTORY}/notebook.ipynb"],
            },
        }

    def request(self, behaviour: Behaviour) -> Document:
        if behaviour is Behaviour.HAS_A_BAD_IMAGE:
            return request_for(self._container("eb.test/nobody-has-it:1", DIGEST))
        if behaviour is Behaviour.HAS_A_BAD_COMMAND:
            return request_for(self._container(BUSYBOX, self._image, "/nonexistent/program"))
        return super().request(behaviour)

    def shell(self, *arguments: str) -> Document:
        return self._container(BUSYBOX, self._image, "/bin/sh", *arguments)

    def left(self, *sessions: UUID) -> list[str]:
        """Of the engine's, too: containers, and volumes, which no job here asks for."""
        containers = [
            f"container {container['Names']}"
            for container in self.engine.containers()
            if any(str(session) in str(container) for session in sessions)
        ]
        volumes = self.engine.request("GET", "/volumes")["Volumes"] or []
        return [*super().left(*sessions), *containers, *(f"volume {v['Name']}" for v in volumes)]

    def _container(
        self, location: str, digest: str, entrypoint: str = "/bin/sh", *command: str
    ) -> Document:
        return {
            "kind": kinds.DOCKER_CONTAINER,
            "image": {"locations": [location], "digest": digest},
            "entrypoint": entrypoint,
            "command": [*command],
        }
