"""What a node says of itself to gateways, and how it keeps its place at those that it joins."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

from aiohttp import web

from gateway.httpkit.background import supervised
from gateway.httpkit.health import Lifecycle
from gateway.httpkit.membership.capabilities import CAPABILITIES_VERSION
from gateway.httpkit.membership.description import Facts
from gateway.httpkit.membership.member import Member
from gateway.httpkit.membership.membership import Membership
from gateway.wire.documents import Document
from node_stub.config import NodeSettings
from node_stub.installation import Installation
from node_stub.membership_files import MembershipFiles
from node_stub.platforms.base import Platform

MEMBERSHIPS_DIR: Final = "memberships"
"""Where the credentials that gateways gave us are kept, in the data directory."""


class NodeDescription:
    """What the settings, the platform and the installation say of a node."""

    def __init__(
        self,
        settings: NodeSettings,
        platform: Platform,
        installation: Installation,
        release: str,
    ) -> None:
        self._settings = settings
        self._platform = platform
        self._installation = installation
        self._release = release

    async def facts(self) -> Facts:
        """What it is called, and where it is."""
        settings = self._settings
        return Facts(
            name=settings.name,
            site=settings.site,
            storage=settings.storage,
            regions=settings.regions,
            is_draining=self._installation.is_draining,
        )

    async def capabilities(self) -> Document:
        """What it can do."""
        settings = self._settings
        limits = (settings.limits or settings.capacity).capped(settings.capacity)
        site = {} if settings.site is None else {"site": settings.site}
        return {
            "version": CAPABILITIES_VERSION,
            "service": "execbroker-node",
            "release": self._release,
            "identity": str(self._installation.identity),
            "name": settings.name,
            **site,
            "kinds": sorted(self._platform.kinds),
            "platforms": [self._platform.name],
            "limits": {
                "cores": limits.cores,
                "memory_gib": limits.memory_gib,
                "storage_gib": limits.storage_gib,
            },
            "storage": list(settings.storage),
            "authentication": list(settings.authentication.schemes),
            "idempotency": True,
        }


def membership_of(
    settings: NodeSettings, data_dir: Path, description: NodeDescription, lifecycle: Lifecycle
) -> Membership:
    """The node's memberships, as its settings say."""
    return Membership(
        settings.join,
        keeping=MembershipFiles(data_dir / MEMBERSHIPS_DIR),
        description=description,
        lifecycle=lifecycle,
        public_url=settings.public_url,
        rng=Random(),  # noqa: S311 - spreads renewals
    )


def add_membership(app: web.Application, membership: Membership) -> None:
    """Serve what gateways ask, and keep the node's place at them for as long as it runs."""
    membership.add_routes(app)
    # First connections, then those who use them: at the end it is the other way round.
    app.cleanup_ctx.append(_connected(membership))
    for member in membership.members:
        app.cleanup_ctx.append(supervised(f"membership {member.gateway}", _steps_of(member)))


def _connected(membership: Membership) -> Callable[[web.Application], AsyncIterator[None]]:
    async def context(_app: web.Application) -> AsyncIterator[None]:
        async with membership.running():
            yield

    return context


def _steps_of(member: Member) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        while True:
            pause_s = await member.step()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await member.wake.wait()

    return run
