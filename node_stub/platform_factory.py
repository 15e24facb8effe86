"""The platform that a node's settings name, put together: a part of the composition root."""

from pathlib import Path
from random import Random
from typing import Final

from node_stub.archive import Archive
from node_stub.clock import Clock
from node_stub.config import NodeSettings
from node_stub.platforms.base import Platform
from node_stub.platforms.docker.settings import DockerSettings
from node_stub.platforms.local.runner import LocalRunner
from node_stub.platforms.local.settings import LocalSettings
from node_stub.platforms.runner import Runner
from node_stub.platforms.simulated import SimulatedPlatform, SimulatedSettings
from node_stub.platforms.workspace import WorkspacePlatform
from node_stub.staging.push import Pusher
from node_stub.staging.stager import Stager

SIMULATED_FILE: Final = "simulated.db"
"""Where the simulated platform keeps its jobs, in the data directory."""

WORKSPACES_DIR: Final = "sessions"
"""Where the directories of live sessions are, in the data directory."""

CACHE_DIR: Final = "cache"
"""Where fetched data is shared between sessions, in the data directory: on the same file system."""


class MissingExtraError(Exception):
    """The settings need a package that is not installed."""

    def __init__(self, what: str, extra: str, package: str) -> None:
        super().__init__(
            f"{what} needs the package {package}: pip install 'execbroker-gateway[{extra}]'"
        )


def build_platform(
    settings: NodeSettings, data_dir: Path, archive: Archive, clock: Clock
) -> Platform:
    """The platform of the settings, not open yet.

    Raises
    ------
    MissingExtraError
    """
    chosen = settings.platform
    if isinstance(chosen, SimulatedSettings):
        rng = Random()  # noqa: S311 - only chooses which simulated jobs fail
        return SimulatedPlatform(chosen, data_dir / SIMULATED_FILE, clock, rng, archive)
    root = (data_dir / WORKSPACES_DIR).absolute()
    stager = Stager(settings.staging, (data_dir / CACHE_DIR).absolute(), clock)
    runner = _runner_of(chosen, root, clock)
    pusher = Pusher(settings.staging)
    return WorkspacePlatform(runner, stager, pusher, archive, root, settings.workspace, clock)


def _runner_of(settings: LocalSettings | DockerSettings, root: Path, clock: Clock) -> Runner:
    if isinstance(settings, LocalSettings):
        return LocalRunner(settings, root, clock)
    try:
        from node_stub.platforms.docker.runner import DockerRunner  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise MissingExtraError("the platform docker", "docker", "aiodocker") from error
    return DockerRunner(settings, root, clock)
