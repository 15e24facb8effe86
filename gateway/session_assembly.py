"""Builds what carries sessions from offer to end: a part of the composition root."""

import asyncio
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.services.acceptance import AcceptanceService
from gateway.services.deliveries import Deliveries
from gateway.services.falling_through import FallThroughService
from gateway.services.gateway_metrics import GatewayMetrics
from gateway.services.letting_go import LettingGoService
from gateway.services.node_calls import NodeCalls
from gateway.services.outbox import Outbox
from gateway.services.sessions import SessionService
from gateway.services.staging_feedback import StagingFeedback
from gateway.services.transitions import Stores, Transitions
from gateway.services.updates import UpdateService
from gateway.settings import CommandSettings, SessionSettings
from gateway.stores.database import Database
from gateway.stores.offersets import OfferSetStore


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What deals with sessions; nothing here is opened or closed.

    ``outbox_wake`` is set whenever a command was saved.
    """

    transitions: Transitions
    sessions: SessionService
    letting_go: LettingGoService
    falling_through: FallThroughService
    updates: UpdateService
    outbox: Outbox
    outbox_wake: asyncio.Event


def build_sessions(
    *,
    database: Database,
    stores: Stores,
    offersets: OfferSetStore,
    nodes: NodeCalls,
    feedback: StagingFeedback,
    clock: Clock,
    settings: SessionSettings,
    command_settings: CommandSettings,
    metrics: GatewayMetrics,
) -> SessionParts:
    """The parts, wired to each other."""
    wake = asyncio.Event()
    transitions = Transitions(stores, clock, command_settings, wake, feedback, metrics)
    sessions = SessionService(database, stores, transitions, nodes, clock, settings)
    acceptance = AcceptanceService(
        database=database,
        stores=stores,
        transitions=transitions,
        nodes=nodes,
        clock=clock,
        settings=settings,
        command_settings=command_settings,
        metrics=metrics,
    )
    letting_go = LettingGoService(
        database=database,
        stores=stores,
        transitions=transitions,
        nodes=nodes,
        clock=clock,
        settings=settings,
        command_settings=command_settings,
    )
    falling_through = FallThroughService(
        database=database,
        stores=stores,
        offersets=offersets,
        acceptance=acceptance,
        clock=clock,
    )
    deliveries = Deliveries(
        database=database,
        stores=stores,
        acceptance=acceptance,
        letting_go=letting_go,
        nodes=nodes,
        clock=clock,
        settings=command_settings,
    )
    return SessionParts(
        transitions=transitions,
        sessions=sessions,
        letting_go=letting_go,
        falling_through=falling_through,
        updates=UpdateService(
            database=database,
            stores=stores,
            acceptance=acceptance,
            falling_through=falling_through,
            letting_go=letting_go,
            sessions=sessions,
            clock=clock,
            settings=settings,
        ),
        outbox=Outbox(database, stores.commands, deliveries, clock, command_settings, metrics),
        outbox_wake=wake,
    )
