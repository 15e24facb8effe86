"""A service that joins gateways, without the rest of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import web

from gateway.httpkit.health import Lifecycle
from gateway.httpkit.membership.description import Facts
from gateway.httpkit.membership.keeping import Keeping
from gateway.httpkit.membership.member import Member
from gateway.httpkit.membership.membership import Membership
from gateway.httpkit.membership.settings import JoinSettings
from gateway.httpkit.problems import problem_middleware
from gateway.httpkit.telemetry import HttpMetrics, make_request_middleware
from gateway.wire.documents import Document
from gateway.wire.secret import Secret
from node_stub.membership_files import MembershipFiles
from tests.support.joined_gateway import TOKEN, JoinedGateway


@dataclass(slots=True)
class SaidOfItself:
    """A description that tests change."""

    told: Facts = field(default_factory=lambda: Facts(name="alpha"))
    can: Document = field(default_factory=lambda: {"version": 1, "service": "execbroker-node"})

    async def facts(self) -> Facts:
        return self.told

    async def capabilities(self) -> Document:
        return self.can

    def drain(self) -> None:
        self.told = replace(self.told, is_draining=True)


@dataclass(slots=True)
class Joining:
    """One membership whose steps a test takes itself, and the service that has it."""

    membership: Membership
    said: SaidOfItself
    lifecycle: Lifecycle

    @property
    def member(self) -> Member:
        (member,) = self.membership.members
        return member


@asynccontextmanager
async def joining(
    gateway: JoinedGateway,
    data_dir: Path,
    *,
    token: str | None = TOKEN,
    keeping: Keeping | None = None,
    is_listening: bool = True,
    **more: Any,
) -> AsyncIterator[Joining]:
    """A service on loopback that joins the gateway once its steps are taken."""
    said, lifecycle = SaidOfItself(), Lifecycle()
    secret = None if token is None else Secret(token)
    membership = Membership(
        (JoinSettings(gateway=gateway.url, token=secret, **more),),
        keeping=keeping or MembershipFiles(data_dir / "memberships"),
        description=said,
        lifecycle=lifecycle,
        public_url=None,
        rng=Random(7),
    )
    metrics = HttpMetrics("execbroker_test_", "0")
    app = web.Application(
        middlewares=[make_request_middleware(metrics, lifecycle), problem_middleware]
    )
    membership.add_routes(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    if is_listening:
        lifecycle.begin_listening(f"http://127.0.0.1:{site.port}")
    try:
        async with membership.running():
            yield Joining(membership, said, lifecycle)
    finally:
        await runner.cleanup()
