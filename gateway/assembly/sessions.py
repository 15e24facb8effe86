"""Builds what carries sessions from offer to end: a part of the composition root."""

import asyncio
from dataclasses import dataclass

from gateway.assembly.foundation import Foundation
from gateway.services.acceptance import AcceptanceService
from gateway.services.deliveries import Deliveries
from gateway.services.falling_through import FallThroughService
from gateway.services.letting_go import LettingGoService
from gateway.services.outbox import Outbox
from gateway.services.sessions import SessionService
from gateway.services.staging_feedback import StagingFeedback
from gateway.services.transitions import Transitions
from gateway.services.unkept import UnkeptHolds
from gateway.services.updates import UpdateService
from gateway.stores.commands import Command
from gateway.stores.unkept import Leased


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What deals with sessions; nothing here is opened or closed.

    ``outbox_wake`` is set whenever a command was saved, ``unkept_wake`` when there are holds to let
    go of.
    """

    transitions: Transitions
    sessions: SessionService
    letting_go: LettingGoService
    falling_through: FallThroughService
    updates: UpdateService
    outbox: Outbox[Command]
    outbox_wake: asyncio.Event
    unkept: Outbox[Leased]
    unkept_wake: asyncio.Event


def build_sessions(base: Foundation) -> SessionParts:
    """The parts, wired to each other."""
    database, stores, nodes, clock = base.database, base.stores, base.nodes, base.clock
    settings, command_settings = base.settings.sessions, base.settings.commands
    wake, unkept_wake = asyncio.Event(), asyncio.Event()
    feedback = StagingFeedback(base.registry)
    transitions = Transitions(
        stores, clock, command_settings, wake, unkept_wake, feedback, base.counts
    )
    sessions = SessionService(database, stores, transitions, nodes, clock, settings)
    acceptance = AcceptanceService(
        database=database,
        stores=stores,
        transitions=transitions,
        nodes=nodes,
        clock=clock,
        settings=settings,
        command_settings=command_settings,
        metrics=base.counts,
        quotas=base.quotas,
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
        offersets=base.offersets,
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
    unkept = UnkeptHolds(
        database=database,
        sessions=stores.sessions,
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
        outbox=Outbox(database, stores.commands, deliveries, clock, command_settings, base.counts),
        outbox_wake=wake,
        unkept=Outbox(database, stores.unkept, unkept, clock, command_settings, base.counts),
        unkept_wake=unkept_wake,
    )
