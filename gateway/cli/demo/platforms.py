"""What the demo's nodes run sessions on: processes of this machine, or containers of its engine."""

import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from gateway.cli.demo.engine import UNIX, Engine, Image, imported, socket_of
from gateway.wire.documents import Document

SOFTWARE: Final = ("/usr", "/lib", "/lib64", "/bin")
"""What the machine's programs consist of."""

FONTS: Final = ("/etc/fonts",)
"""What whoever draws text looks at."""

IMAGE_NAME: Final = "localhost/execbroker-demo-{run}:latest"
"""What the image of a run of the demo is called; no registry has that name."""

RUN_NOTEBOOK: Final = """\
python=$1; shift
"$python" -m papermill --no-progress-bar --log-level WARNING --stdout-file - --stderr-file - \
  "$@" /session-input/notebook.ipynb /session/notebook.ipynb
code=$?
"$python" -m nbconvert --log-level ERROR --to html /session/notebook.ipynb
exit $code
"""
"""Runs a notebook in a container by the Python of the machine, and shows what its cells print."""


class PlatformName(StrEnum):
    """The platforms that the demo can be run on."""

    LOCAL = "local"
    DOCKER = "docker"


@dataclass(frozen=True, slots=True)
class DemoPlatform:
    """What nodes run sessions on: in words, and as section ``platform`` of a node's settings."""

    description: str
    section: Callable[[str], Document]


@asynccontextmanager
async def demo_platform(name: PlatformName, socket: str | None) -> AsyncIterator[DemoPlatform]:
    """The platform, with what it needs for as long as the block lasts.

    Raises
    ------
    DemoError
        There is no container engine.
    """
    if name is PlatformName.LOCAL:
        yield DemoPlatform("processes of this machine", lambda _: local_section())
        return
    path = socket_of(socket, os.environ)
    run = secrets.token_hex(4)
    async with Engine(path) as engine:
        description = f"containers of {await engine.version()} at {path}"
        is_mapped = os.geteuid() == 0 or await engine.is_rootless()
        # The broker has to remove what its containers leave.
        user = "image" if is_mapped else "broker"
        async with imported(engine, IMAGE_NAME.format(run=run)) as image:

            def section(node: str) -> Document:
                return {**docker_section(path, f"{run}.{node}", image), "user": user}

            yield DemoPlatform(description, section)


def local_section() -> Document:
    """Processes, and notebooks by the Python that runs the demo."""
    fonts = [path for path in FONTS if Path(path).is_dir()]
    return {"type": "local", "notebook": {"python": sys.executable, "paths": fonts}}


def docker_section(socket: str, mark: str, image: Image) -> Document:
    """Containers that see this machine's software, read-only, and run notebooks by it.

    Parameters
    ----------
    mark
        Tells the containers of this node from those of others on the same engine.
    """
    places = software_paths(sys.prefix, sys.base_prefix)
    return {
        "type": "docker",
        "socket": f"{UNIX}{socket}",
        "pull": "never",
        "label": f"org.execbroker.demo.{mark}",
        "site_mounts": [{"source": path, "target": path} for path in places],
        "notebook": {
            "image": image.name,
            "digest": image.id,
            "command": ["/bin/sh", "-c", RUN_NOTEBOOK, "notebook", sys.executable],
        },
    }


def software_paths(*prefixes: str) -> list[str]:
    """Everything that programs of this machine, and a Python at these prefixes, consist of."""
    return _outermost(path for path in (*SOFTWARE, *prefixes) if Path(path).is_dir())


def _outermost(paths: Iterable[str]) -> list[str]:
    """Without those that lie within another."""
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(Path(path).is_relative_to(other) for other in kept):
            kept.append(path)
    return kept
