"""Both services, each as a program of its own, to be spoken to as they are."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

from tests.support.gateway import GatewayProcess
from tests.support.node import node_process, process_config


@asynccontextmanager
async def running_node(data_dir: Path) -> AsyncIterator[str]:
    """A node; gives its URL."""
    async with node_process(data_dir, process_config()) as node:
        yield node.url


@asynccontextmanager
async def running_gateway(data_dir: Path) -> AsyncIterator[str]:
    """A gateway over one node; gives its URL."""
    async with running_node(data_dir) as node:
        limits = {"failed_logins_per_min": None}
        gateway = GatewayProcess({"alpha": node}, data_dir, rate_limits=limits)
        await gateway.start()
        try:
            yield gateway.url
        finally:
            await gateway.stop()


SERVICES: Final[Mapping[str, Callable[[Path], AbstractAsyncContextManager[str]]]] = {
    "node": running_node,
    "gateway": running_gateway,
}
"""By name, each with the directory that its data are in."""
