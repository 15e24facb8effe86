"""Every adapter, by name: how its kit is made, and in which process its tests run."""

import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest
from _pytest.mark.structures import ParameterSet

from tests.platforms.conformance.kits import Kit, SimulatedKit
from tests.platforms.conformance.workspace_kits import (
    BubblewrapKit,
    DockerKit,
    NamespacesKit,
    NotebookKit,
    PlainKit,
)
from tests.support.engines import ENGINES
from tests.support.required import required


def _simulated(_request: pytest.FixtureRequest, data_dir: Path) -> Kit:
    return SimulatedKit(data_dir)


def _need_bubblewrap() -> None:
    required("local", shutil.which("bwrap") is not None, "bubblewrap is not installed")


def _bubblewrap(_request: pytest.FixtureRequest, data_dir: Path) -> Kit:
    _need_bubblewrap()
    return BubblewrapKit(data_dir)


def _notebook(_request: pytest.FixtureRequest, data_dir: Path) -> Kit:
    required("notebook", find_spec("papermill") is not None, "papermill is not installed")
    _need_bubblewrap()
    return NotebookKit(data_dir)


def _namespaces(_request: pytest.FixtureRequest, data_dir: Path) -> Kit:
    required("local", os.geteuid() == 0, "only root may make namespaces everywhere")
    return NamespacesKit(data_dir)


def _plain(_request: pytest.FixtureRequest, data_dir: Path) -> Kit:
    return PlainKit(data_dir)


def _docker(request: pytest.FixtureRequest, data_dir: Path) -> Kit:
    return DockerKit(data_dir, *request.getfixturevalue("docker_image"))


def _podman(request: pytest.FixtureRequest, data_dir: Path) -> Kit:
    return DockerKit(data_dir, *request.getfixturevalue("podman_image"))


KITS: Final[dict[str, Callable[[pytest.FixtureRequest, Path], Kit]]] = {
    "simulated": _simulated,
    "local-bubblewrap": _bubblewrap,
    "local-namespaces": _namespaces,
    "local-plain": _plain,
    "docker": _docker,
    "podman": _podman,
    "local-notebook": _notebook,
}
"""How the kit of each adapter is made; where something is missing, that ends the test."""

ADAPTERS: Final = ("simulated", "local-bubblewrap", "local-namespaces", "local-plain", *ENGINES)
"""What every test is about that needs no notebook."""


def parameters(*names: str) -> list[ParameterSet]:
    """These adapters as parameters of the fixture ``kit``."""
    return [
        pytest.param(name, marks=pytest.mark.xdist_group(name) if name in ENGINES else ())
        for name in names
    ]
