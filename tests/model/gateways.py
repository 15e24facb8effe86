"""A gateway of the model: the real services, wired by ``gateway.assembly`` itself."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from unittest import mock
from uuid import UUID

from prometheus_client import CollectorRegistry

from gateway.assembly import asking as asking_assembly
from gateway.assembly import keeping as keeping_assembly
from gateway.assembly import sessions as session_assembly
from gateway.assembly.foundation import Foundation
from gateway.assembly.lakes import build_lakes
from gateway.clients.broker import BrokerClient
from gateway.clients.exchange import NodeTransport
from gateway.clock import SystemClock
from gateway.config import GatewaySettings
from gateway.domain.node import BasicCredentials, NodeProfile
from gateway.domain.permissions import Permissions
from gateway.services.direct import DirectService
from gateway.services.fanout_metrics import FanoutMetrics
from gateway.services.gateway_metrics import GatewayMetrics
from gateway.services.health_metrics import HealthMetrics
from gateway.services.housekeeping import Housekeeping
from gateway.services.installation import Installation
from gateway.services.node_calls import NodeCalls
from gateway.services.offers import OffersService
from gateway.services.permissions import PermissionService
from gateway.services.registry import NodeRegistry
from gateway.services.transitions import Stores
from gateway.settings import CommandSettings, SessionSettings
from gateway.stores.commands import CommandStore
from gateway.stores.database import Database
from gateway.stores.events import EventStore
from gateway.stores.idempotency import IdempotencyStore
from gateway.stores.installation import InstallationStore
from gateway.stores.offersets import OfferSetStore
from gateway.stores.resubmissions import ResubmissionStore
from gateway.stores.sessions import SessionStore
from gateway.stores.unkept import UnkeptStore
from gateway.wire.secret import Secret
from tests.model.loop import Owner, SimLoop
from tests.model.nodes import SimNode, instant
from tests.support.quotas import no_quotas

SESSIONS: Final = SessionSettings(fresh_s=0.0, resubmit_after_s=30.0)
"""The defaults, but every look at a session asks its node: a copy would hide what it says. And two
looks in vain are enough to take a node for lost: thirty would show nothing more."""

COMMANDS: Final = CommandSettings()
"""The defaults, as gateways run with them."""

_SETTINGS: Final = GatewaySettings(sessions=SESSIONS, commands=COMMANDS)
_LAKES: Final = build_lakes(_SETTINGS, Path(), SystemClock(), CollectorRegistry())
"""No lake at all."""

_COUNTED: Final = CollectorRegistry()
_METRICS: Final = GatewayMetrics(_COUNTED)
_HEALTH: Final = HealthMetrics(_COUNTED)
_FANOUT: Final = FanoutMetrics(_COUNTED)
"""One for all gateways: counters decide nothing."""

_ASSEMBLIES: Final = (session_assembly, asking_assembly, keeping_assembly)

_IDENTITY: Final = UUID(int=0x1D << 120)
"""What all gateways on the store are called in the paths of requests."""


@dataclass(frozen=True, slots=True)
class SimClock:
    """The loop's time, read off by a gateway."""

    loop: SimLoop

    def now(self) -> datetime:
        """The present, in UTC."""
        return instant(self.loop.now_s)

    def monotonic(self) -> float:
        """Seconds of the loop."""
        return self.loop.now_s


@dataclass(frozen=True, slots=True)
class Parts:
    """What gateways are made of; a seeded bug puts classes of its own in the place of some.

    ``services`` has such classes by the names that the modules of ``gateway.assembly`` have for
    them.
    """

    services: dict[str, Any] = field(default_factory=dict)
    sessions: type[SessionStore] = SessionStore
    commands: type[CommandStore] = CommandStore
    resubmissions: type[ResubmissionStore] = ResubmissionStore
    keys: type[IdempotencyStore] = IdempotencyStore

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have gateways built with them."""
        with ExitStack() as stack:
            for name, part in self.services.items():
                places = [module for module in _ASSEMBLIES if hasattr(module, name)]
                assert places, f"no gateway is built with {name}"
                for module in places:
                    stack.enter_context(mock.patch.object(module, name, part))
            yield


@dataclass(frozen=True, slots=True)
class Asking:
    """What asks nodes for offers, and has sessions executed elsewhere."""

    offers: OffersService
    direct: DirectService
    resubmit: Callable[[], Awaitable[float]]


class _Known(Installation):
    """An installation whose identity nobody has to read."""

    @property
    def identity(self) -> UUID:
        return _IDENTITY


class SimGateway:
    """One run of a gateway process, from its start at ``began_s`` until it is killed.

    ``mint`` gives it UUIDs. ``busy`` has the duties that are under way, by name.
    """

    def __init__(
        self,
        owner: Owner,
        loop: SimLoop,
        database: Database,
        transport: NodeTransport,
        nodes: list[SimNode],
        parts: Parts,
        mint: Callable[[], UUID],
    ) -> None:
        self.owner = owner
        self.began_s = loop.now_s
        self.busy: dict[str, asyncio.Task[Any]] = {}
        self._mint = mint
        clock = SimClock(loop)
        registry = _registry_of(nodes, transport, clock)
        self._base = Foundation(
            settings=_SETTINGS,
            database=database,
            clock=clock,
            stores=Stores(
                parts.sessions(),
                parts.commands(),
                EventStore(),
                parts.resubmissions(),
                UnkeptStore(),
            ),
            offersets=OfferSetStore(),
            keys=parts.keys(),
            registry=registry,
            nodes=NodeCalls(registry),
            permissions=PermissionService(Permissions()),
            quotas=no_quotas(database, clock),
            installation=_Known(database, InstallationStore(), mint),
            metrics=_COUNTED,
            counts=_METRICS,
        )
        self._built = session_assembly.build_sessions(self._base)
        self.sessions = self._built.sessions
        self.updates = self._built.updates
        self.letting_go = self._built.letting_go
        self.falling_through = self._built.falling_through
        housekeeping = Housekeeping(
            database=database,
            stores=self._base.stores,
            offersets=self._base.offersets,
            keys=self._base.keys,
            transitions=self._built.transitions,
            sessions=self._built.sessions,
            clock=clock,
            settings=SESSIONS,
            metrics=_METRICS,
        )
        self.duties: dict[str, Callable[[], Any]] = {
            "outbox": self._built.outbox.run_due,
            "unkept": self._built.unkept.run_due,
            "expire": housekeeping.expire_offers,
            "follow": housekeeping.follow_sessions,
            "resubmit": self._resubmit,
        }

    async def _resubmit(self) -> None:
        await self.asking.resubmit()

    @cached_property
    def asking(self) -> Asking:
        """Built when it is needed first: it takes as long as all the rest."""
        with mock.patch.multiple(
            asking_assembly, FanoutMetrics=lambda _: _FANOUT, uuid4=self._mint
        ):
            asking = asking_assembly.build_asking(self._base, self._built, _LAKES)
        duties = keeping_assembly.build_keeping(self._base, self._built, asking.offers)
        resubmit = next(duty.run for duty in duties if duty.name == "resubmit")
        return Asking(asking.offers, asking.direct, resubmit)


def _registry_of(nodes: list[SimNode], transport: NodeTransport, clock: SimClock) -> NodeRegistry:
    registry = NodeRegistry(clock.now, monotonic=clock.monotonic, metrics=_HEALTH)
    for node in nodes:
        profile = NodeProfile(
            node.name, node.url, credentials=BasicCredentials("head", Secret("x"))
        )
        registry.add(BrokerClient(profile, transport))
    return registry
