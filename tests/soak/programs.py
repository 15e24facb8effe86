"""Programs that are killed and started again on the port they had."""

import socket
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

from tests.support.node import ADMIN
from tests.support.nursery import Child, Nursery

PORTS: Final = (20_000, 30_000)
"""Below those that the kernel gives to outgoing connections (32768 and up, ip(7)): a port that is
free while its program is down is not taken by a client meanwhile."""

TRIES: Final = 100
"""Ports tried until one is free."""

PASSWORD_ENV: Final = "ADMIN_PASSWORD"


def free_port(random: Random) -> int:
    """A port that nobody has at the moment.

    Raises
    ------
    OSError
        None of those tried is free.
    """
    for _ in range(TRIES):
        port = random.randrange(*PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError("no port is free")


class Program:
    """A process that listens on a port of its own however often it is started.

    ``folder`` gets its log; a service finds its ``settings.yaml`` there and keeps its data there.
    """

    def __init__(self, nursery: Nursery, module: str, folder: Path, port: int) -> None:
        folder.mkdir()
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self._nursery = nursery
        self._module = module
        self._listen = f"127.0.0.1:{port}"
        self._child: Child | None = None

    @property
    def log(self) -> Path:
        """What it wrote down."""
        return self.folder / "log"

    @property
    def pid(self) -> int:
        """The process that runs now, or ran last."""
        assert self._child is not None
        return self._child.pid

    async def serve(self, *more: str) -> None:
        """Start it as a service, with ``more`` arguments, and wait until it listens."""
        arguments = ["serve", "--config", str(self.folder / "settings.yaml"), *more]
        await self.start([*arguments, "--data-dir", str(self.folder)])

    async def start(self, arguments: Sequence[str]) -> None:
        """Start it with these arguments, and where to listen, and wait until it does."""
        self._child = await self._nursery.run(
            self._module,
            [*arguments, "--listen", self._listen],
            self.folder,
            {PASSWORD_ENV: ADMIN.password},
        )
        assert self._child.url == self.url, "it listens elsewhere than it was told"

    async def kill(self) -> None:
        """End it as a power cut would."""
        if self._child is not None:
            await self._child.kill()

    async def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._child is not None:
            await self._child.stop()
