"""Builds what lets this gateway join others: a part of the composition root."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from gateway.assembly.foundation import Foundation
from gateway.assembly.membership_keeping import SharedKeeping
from gateway.domain.joint_capabilities import joint_capabilities
from gateway.domain.registration import NodeStanding
from gateway.httpkit.health import Lifecycle
from gateway.httpkit.membership.capabilities import CAPABILITIES_VERSION, tag_of
from gateway.httpkit.membership.description import Facts
from gateway.httpkit.membership.membership import Membership
from gateway.httpkit.release import release
from gateway.sealing import Sealer
from gateway.services.background import Duty
from gateway.services.registry import RegisteredNode
from gateway.stores.memberships import MembershipStore
from gateway.wire.documents import Document

LOOK_EVERY_S: Final = 5.0
"""How often it is looked whether the gateway can do more or less than before, through its nodes."""


class GatewayDescription:
    """What the settings and the nodes say of a gateway."""

    def __init__(self, base: Foundation) -> None:
        self._settings = base.settings
        self._registry = base.registry
        self._installation = base.installation

    async def facts(self) -> Facts:
        """What it is called, and the storage and regions of its nodes; it has no site."""
        live = self._live()
        regions = {region for node in live for region in node.profile.regions}
        return Facts(
            name=self._settings.federation.name,
            storage=self._storage(live),
            regions=tuple(sorted(regions)),
        )

    async def capabilities(self) -> Document:
        """What it can do through its nodes.

        Nodes that are left alone for a while count: every process of the gateway says the same.
        """
        live = self._live()
        joint = joint_capabilities(node.membership.capabilities for node in live)
        return {
            "version": CAPABILITIES_VERSION,
            "service": "execbroker-gateway",
            "release": release(),
            "identity": str(self._installation.identity),
            "name": self._settings.federation.name,
            **joint.to_document(),
            "storage": list(self._storage(live)),
            "authentication": list(self._settings.authentication.schemes),
            "idempotency": True,
            "max_hops": self._settings.federation.hop_limit,
        }

    def _live(self) -> list[RegisteredNode]:
        return [node for node in self._registry if node.standing is not NodeStanding.DOWN]

    def _storage(self, live: list[RegisteredNode]) -> tuple[str, ...]:
        found: set[str] = set()
        for node in live:
            found.update(node.profile.storage)
            can = node.membership.capabilities
            found.update(can.storage if can else ())
            site = self._settings.sites.get(node.profile.site or "")
            found.update(site.rses if site else ())
        return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class MembershipParts:
    """The gateway's memberships, and the duties that see to them while ``membership`` runs."""

    membership: Membership
    duties: tuple[Duty, ...]


def build_membership(base: Foundation, lifecycle: Lifecycle) -> MembershipParts:
    """The parts, wired to each other; nothing is opened here."""
    settings = base.settings
    description = GatewayDescription(base)
    # Settings with `join` have a key; without it nothing will be sealed.
    key = settings.secret_key.reveal() if settings.secret_key else secrets.token_hex()
    membership = Membership(
        settings.join,
        keeping=SharedKeeping(base.database, MembershipStore(), Sealer(key), base.clock),
        description=description,
        lifecycle=lifecycle,
        public_url=settings.public_url,
        rng=Random(),  # noqa: S311  # spreads renewals
    )
    duties = [Duty(f"join {m.gateway}", m.step, m.wake) for m in membership.members]
    if duties:
        duties.append(Duty("tell_capabilities", _telling(description, membership), asyncio.Event()))
    return MembershipParts(membership, tuple(duties))


def _telling(
    description: GatewayDescription, membership: Membership
) -> Callable[[], Awaitable[float]]:
    told = ""

    async def run() -> float:
        nonlocal told
        tag = tag_of(await description.capabilities())
        if told and tag != told:
            membership.tell()
        told = tag
        return LOOK_EVERY_S

    return run
