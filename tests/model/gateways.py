"""A gateway of the model: the real services, wired by ``gateway.assembly.sessions`` itself."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from unittest import mock

from prometheus_client import CollectorRegistry

from gateway.assembly import sessions as session_assembly
from gateway.clients.broker import BrokerClient
from gateway.clients.exchange import NodeTransport
from gateway.domain.node import BasicCredentials, NodeProfile
from gateway.services.gateway_metrics import GatewayMetrics
from gateway.services.health_metrics import HealthMetrics
from gateway.services.housekeeping import Housekeeping
from gateway.services.node_calls import NodeCalls
from gateway.services.registry import NodeRegistry
from gateway.services.staging_feedback import StagingFeedback
from gateway.services.transitions import Stores
from gateway.settings import CommandSettings, SessionSettings
from gateway.stores.commands import CommandStore
from gateway.stores.database import Database
from gateway.stores.events import EventStore
from gateway.stores.idempotency import IdempotencyStore
from gateway.stores.offersets import OfferSetStore
from gateway.stores.resubmissions import ResubmissionStore
from gateway.stores.sessions import SessionStore
from gateway.stores.unkept import UnkeptStore
from gateway.wire.secret import Secret
from tests.model.loop import Owner, SimLoop
from tests.model.nodes import SimNode, instant
from tests.support.quotas import no_quotas

SESSIONS: Final = SessionSettings(fresh_s=0.0)
"""The defaults, but every look at a session asks its node: a copy would hide what it says."""

COMMANDS: Final = CommandSettings()
"""The defaults, as gateways run with them."""

_COUNTED: Final = CollectorRegistry()
_METRICS: Final = GatewayMetrics(_COUNTED)
_HEALTH: Final = HealthMetrics(_COUNTED)
"""One for all gateways: counters decide nothing."""


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

    ``services`` has such classes by the name that ``gateway.assembly.sessions`` has for them.
    """

    services: dict[str, Any] = field(default_factory=dict)
    sessions: type[SessionStore] = SessionStore
    commands: type[CommandStore] = CommandStore

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have gateways built with them."""
        if not self.services:
            yield
            return
        with mock.patch.multiple(session_assembly, **self.services):
            yield


class SimGateway:
    """One run of a gateway process, from its start until it is killed.

    ``busy`` has the duties that are under way, by name.
    """

    def __init__(
        self,
        owner: Owner,
        loop: SimLoop,
        database: Database,
        transport: NodeTransport,
        nodes: list[SimNode],
        parts: Parts,
    ) -> None:
        self.owner = owner
        self.busy: dict[str, asyncio.Task[Any]] = {}
        clock = SimClock(loop)
        registry = NodeRegistry(clock.now, monotonic=clock.monotonic, metrics=_HEALTH)
        for node in nodes:
            profile = NodeProfile(
                node.name, node.url, credentials=BasicCredentials("head", Secret("x"))
            )
            registry.add(BrokerClient(profile, transport))
        stores = Stores(
            parts.sessions(), parts.commands(), EventStore(), ResubmissionStore(), UnkeptStore()
        )
        offersets = OfferSetStore()
        built = session_assembly.build_sessions(
            database=database,
            stores=stores,
            offersets=offersets,
            nodes=NodeCalls(registry),
            feedback=StagingFeedback(registry),
            clock=clock,
            settings=SESSIONS,
            command_settings=COMMANDS,
            metrics=_METRICS,
            quotas=no_quotas(database, clock),
        )
        self.sessions = built.sessions
        self.updates = built.updates
        self.letting_go = built.letting_go
        self.falling_through = built.falling_through
        housekeeping = Housekeeping(
            database=database,
            stores=stores,
            offersets=offersets,
            keys=IdempotencyStore(),
            transitions=built.transitions,
            sessions=built.sessions,
            clock=clock,
            settings=SESSIONS,
            metrics=_METRICS,
        )
        self.duties: dict[str, Callable[[], Any]] = {
            "outbox": built.outbox.run_due,
            "expire": housekeeping.expire_offers,
            "follow": housekeeping.follow_sessions,
        }
