"""Builds what lets nodes join this gateway: a part of the composition root."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from gateway.api.membership import (
    MEMBERSHIP,
    REGISTRATION,
    REGISTRATION_SETTINGS,
    add_membership_routes,
)
from gateway.api.nodes import DIRECTORY, NODES, PERMISSIONS, add_node_routes
from gateway.api.registration_bearers import NodeCredentialScheme, RegistrationTokenScheme
from gateway.api.registration_tokens import TOKENS, add_token_routes
from gateway.clients.addresses import AddressGuard
from gateway.clients.broker import BrokerClient
from gateway.clients.node_proving import NodeProver
from gateway.clients.trust import trust_of
from gateway.clock import Clock
from gateway.config import GatewaySettings
from gateway.domain.node import NodeProfile
from gateway.httpkit.auth import BearerScheme
from gateway.sealing import Sealer
from gateway.services.background import Duty
from gateway.services.membership import MembershipService
from gateway.services.node_capabilities import CapabilityReading
from gateway.services.node_credentials import CredentialBox
from gateway.services.node_directory import NodeDirectory
from gateway.services.permissions import PermissionService
from gateway.services.registration import RegistrationService
from gateway.services.registration_tokens import RegistrationTokens
from gateway.services.registry import NodeRegistry
from gateway.settings import RegistrationSettings
from gateway.stores.database import Database
from gateway.stores.node_credentials import NodeCredentialStore, RegistrationTokenStore
from gateway.stores.nodes import NodeStore


@dataclass(frozen=True, slots=True)
class RegistrationParts:
    """What deals with registration: its work in the background, and what the handlers use."""

    directory: NodeDirectory
    duties: tuple[Duty, ...]


def build_tokens(
    database: Database, clock: Clock, settings: RegistrationSettings
) -> RegistrationTokens:
    """What knows registration tokens and the credentials of nodes."""
    return RegistrationTokens(
        database, RegistrationTokenStore(), NodeCredentialStore(), clock, settings.token_s
    )


def bearers_of(tokens: RegistrationTokens) -> tuple[BearerScheme, ...]:
    """The sorts of bearer tokens that come with registration."""
    return (RegistrationTokenScheme(tokens), NodeCredentialScheme(tokens))


def build_registration(
    app: web.Application,
    settings: GatewaySettings,
    *,
    database: Database,
    registry: NodeRegistry,
    connect: Callable[[NodeProfile], BrokerClient],
    tokens: RegistrationTokens,
    permissions: PermissionService,
    clock: Clock,
) -> RegistrationParts:
    """The parts, wired to each other and put where the handlers find them.

    Adds the nodes of the settings to the registry; those that registered follow with the first
    ``sync`` of the directory, once the database is open.
    """
    store, rules = NodeStore(), settings.registration
    box = CredentialBox(Sealer(settings.secret_key.reveal()) if settings.secret_key else None)
    configured = {node.name: node.to_profile() for node in settings.nodes}
    for profile in configured.values():
        registry.add(connect(profile))
    minted, granted = RegistrationTokenStore(), NodeCredentialStore()
    directory = NodeDirectory(
        database=database,
        store=store,
        registry=registry,
        configured=configured,
        connect=connect,
        box=box,
        clock=clock,
        settings=rules,
    )
    trust = trust_of(settings.transport)
    prover = NodeProver(AddressGuard(may_be_private=rules.allow_private_addresses), trust)
    reading = CapabilityReading(
        database=database,
        store=store,
        registry=registry,
        directory=directory,
        prover=prover,
        trusting=NodeProver(AddressGuard(may_be_private=True), trust),
        clock=clock,
        asks_configured=settings.health.probe_every_s > 0,
    )
    app[NODES] = registry
    app[DIRECTORY] = directory
    app[PERMISSIONS] = permissions
    app[TOKENS] = tokens
    app[REGISTRATION_SETTINGS] = rules
    app[REGISTRATION] = RegistrationService(
        database=database,
        store=store,
        tokens=minted,
        credentials=granted,
        registry=registry,
        directory=directory,
        prover=prover,
        box=box,
        clock=clock,
    )
    app[MEMBERSHIP] = MembershipService(
        database=database,
        store=store,
        tokens=minted,
        credentials=granted,
        registry=registry,
        directory=directory,
        reading=reading,
        clock=clock,
    )
    return RegistrationParts(
        directory,
        (
            Duty("node_directory", directory.run_due, asyncio.Event()),
            Duty("node_capabilities", reading.run_due, reading.wake),
        ),
    )


def add_registration_api(app: web.Application) -> None:
    """Serve nodes, their registration, and the tokens for it."""
    add_node_routes(app)
    add_membership_routes(app)
    add_token_routes(app)
