"""Three node brokers and a gateway before them, each a process as an operator runs it."""

import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import ClientSession

from gateway.wire import kinds
from gateway.wire.documents import Document
from tests.platforms.conformance.witnesses import MARK
from tests.support.engines import Engine, running_docker
from tests.support.gateway import GatewayProcess, GatewayUnderTest
from tests.support.images import BUSYBOX, busybox
from tests.support.node import node_process, process_config

CORES: Final = 40
"""What each node says it has: jobs here only sleep."""

NO_DIGEST: Final = "sha256:" + "1" * 64
"""Of the image where no engine has one."""

NODES: Final = ("alpha", "beta", "gamma")

CAPACITY: Final[Document] = {"cores": CORES, "memory_gib": 4 * CORES, "storage_gib": 40 * CORES}

_JOB: Final = 'echo "$STRESS_NUMBER" >>ran; exec sleep "$0"'


@dataclass(frozen=True, slots=True)
class Node:
    """One node broker; ``platform`` is what it runs sessions on."""

    name: str
    platform: str
    pid: int
    data_dir: Path


@dataclass(frozen=True, slots=True)
class Federation:
    """The gateway's client, and the nodes behind it. ``digest`` is of the image they all run.

    ``engine`` is what the containers run on; without one there are none.
    """

    gateway: GatewayUnderTest
    nodes: tuple[Node, ...]
    digest: str
    mark: str
    engine: Engine | None

    def request(self, number: int, seconds: int) -> Document:
        """A request for the job of a number: it writes that down and sleeps."""
        executable = {
            "kind": kinds.DOCKER_CONTAINER,
            "image": {"locations": [BUSYBOX], "digest": self.digest},
            "command": ["-c", _JOB, str(seconds)],
            "environment": {"STRESS_NUMBER": str(number), MARK: self.mark},
        }
        compute = {
            "kind": kinds.SIMPLE_COMPUTE,
            "cores": {"min": 1, "max": 1},
            "memory": {"min": 1, "max": 1},
        }
        schedule = {"requested": {"duration": f"PT{seconds + 30}S"}}
        return {"executable": executable, "compute": compute, "schedule": schedule}


@contextmanager
def engine_if_any() -> Iterator[Engine | None]:
    """A Docker Engine of one's own; None where it is not installed."""
    if shutil.which("dockerd") is None:
        yield None
        return
    with running_docker(has_network=False) as engine:
        yield engine


@asynccontextmanager
async def running_federation(
    data_dir: Path, engine: Engine | None, mark: str
) -> AsyncIterator[Federation]:
    """All of it, started; ended at the end."""
    digest = NO_DIGEST if engine is None else busybox(engine, BUSYBOX, 'ENTRYPOINT ["/bin/sh"]')
    local = _local(digest)
    platforms = (local, local, local if engine is None else _docker(engine))
    async with AsyncExitStack() as stack:
        nodes: list[Node] = []
        urls: dict[str, str] = {}
        for name, platform in zip(NODES, platforms, strict=True):
            folder = data_dir / name
            folder.mkdir()
            process = await stack.enter_async_context(node_process(folder, _config(name, platform)))
            stack.push_async_callback(process.terminate)
            nodes.append(Node(name, platform["type"], process.process.pid, folder))
            urls[name] = process.url
        folder = data_dir / "gateway"
        folder.mkdir()
        client = await stack.enter_async_context(_gateway(folder, urls))
        yield Federation(client, tuple(nodes), digest, mark, engine)


@asynccontextmanager
async def _gateway(data_dir: Path, urls: Mapping[str, str]) -> AsyncIterator[GatewayUnderTest]:
    process = GatewayProcess(urls, data_dir)
    await process.start()
    try:
        async with ClientSession() as session:
            yield GatewayUnderTest(process.url, session)
    finally:
        await process.stop()


def _config(name: str, platform: Document) -> Document:
    return process_config(
        name=name,
        capacity=CAPACITY,
        offers={"count": 1},
        platform=platform,
        reconciler={},
    )


def _local(digest: str) -> Document:
    program = {"images": [BUSYBOX], "digest": digest, "command": ["/bin/sh"]}
    return {"type": "local", "programs": [program]}


def _docker(engine: Engine) -> Document:
    return {"type": "docker", "socket": engine.url, "pull": "never"}
