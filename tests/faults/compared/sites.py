"""Two sites and a gateway: alpha's broker is a process that can be killed, beta stays well."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from gateway.wire.documents import Document
from gateway.wire.times import format_instant
from node_stub.platforms.simulated import SimulatedSettings
from tests.support.crashing import KillableNode, killable_node
from tests.support.gateway import running_gateway
from tests.support.lost_node import LostNode
from tests.support.node import ADMIN, NodeClient, node_settings, running_node
from tests.support.nursery import Nursery
from tests.support.proxy import running_proxy
from tests.support.requests import minimal_request

SETTLES_S: Final = 20.0
"""Everything has come to its end long before, on a busy machine too."""

_LIVES_LONG: Final = {"count": 2, "expires_s": 60, "min_expires_s": 1}
"""Offers that outlive a restart of their site's broker."""


@dataclass(frozen=True, slots=True)
class Sites:
    """The broker that can be killed, and what is seen of both."""

    broker: KillableNode
    seen: LostNode


@asynccontextmanager
async def two_sites(
    nursery: Nursery, at: Path, alpha: Document, beta: SimulatedSettings, **settings: Any
) -> AsyncIterator[Sites]:
    """Work at alpha goes as ``alpha`` of its settings file says; ``settings`` are the gateway's."""
    for name in ("alpha", "beta"):
        (at / name).mkdir()
    config = {"platform": {"type": "simulated", **alpha}, "offers": _LIVES_LONG}
    async with (
        killable_node(nursery, at / "alpha", **config) as broker,
        running_node(at / "beta", node_settings(name="beta", platform=beta)) as second,
        running_proxy(second.url) as to_second,
        NodeClient(broker.proxy.target, ADMIN) as first,
        running_gateway(
            {"alpha": broker.proxy.url, "beta": to_second.url}, at / "gateway", **settings
        ) as gateway,
    ):
        second.auth = ADMIN
        nodes = {"alpha": first, "beta": second}
        proxies = {"alpha": broker.proxy, "beta": to_second}
        yield Sites(broker, LostNode(gateway, nodes, proxies, at))


def starting_in(wait: timedelta, **members: Any) -> Document:
    """A request for ten minutes that are to begin so long from now, or up to five minutes later."""
    return starting_at((datetime.now(UTC) + wait).replace(microsecond=0), **members)


def starting_at(start: datetime, **members: Any) -> Document:
    """A request for ten minutes that are to begin then, or up to five minutes later."""
    requested = {"start": f"{format_instant(start)}/PT5M", "duration": "PT10M"}
    return minimal_request(schedule={"requested": requested}, **members)
