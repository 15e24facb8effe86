"""The adapters under test, each in a directory of its own that is empty afterwards."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.platforms.conformance.adapters import ADAPTERS, KITS, parameters
from tests.platforms.conformance.kits import Kit
from tests.platforms.conformance.stage import Stage
from tests.support.engines import Engine
from tests.support.images import busybox


@pytest.fixture(scope="session")
def docker_image(docker_engine: Engine) -> tuple[Engine, str]:
    """A Docker Engine, and the id of busybox on it."""
    return docker_engine, busybox(docker_engine)


@pytest.fixture(scope="session")
def podman_image(podman_engine: Engine) -> tuple[Engine, str]:
    """A Podman service, and the id of busybox on it."""
    return podman_engine, busybox(podman_engine)


@pytest.fixture(params=parameters(*ADAPTERS))
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Kit:
    """The kit of an adapter, over an empty directory."""
    return KITS[request.param](request, tmp_path)


@pytest.fixture
async def stage(kit: Kit) -> AsyncIterator[Stage]:
    """The adapter's platform, open; no job may be left on it."""
    async with kit.opened() as platform:
        assert (await platform.probe()).is_up
        yield Stage(kit, platform)
        assert await platform.recover() == []
