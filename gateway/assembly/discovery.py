"""What belongs to discovery, put together."""

from dataclasses import dataclass
from uuid import uuid4

from aiohttp import web

from gateway.api.discovery import DISCOVERY, ESTIMATES, SHOWS_REPLICAS, add_discovery_routes
from gateway.api.software import SOFTWARE, add_software_routes
from gateway.api.vosi import REGISTERED, SECURITY, Registered, add_vosi_routes
from gateway.clients.fetching import Fetcher
from gateway.clock import Clock
from gateway.config import GatewaySettings
from gateway.domain.candidates import RefusalMemory
from gateway.services.discovery import DiscoveryService
from gateway.services.estimate import EstimateService
from gateway.services.permissions import PermissionService
from gateway.services.placing import PlacingService
from gateway.services.planning import Planner
from gateway.services.registry import NodeRegistry
from gateway.services.software import SoftwareService
from gateway.stores.database import Database
from gateway.stores.software import SoftwareStore


@dataclass(frozen=True, slots=True)
class DiscoveryParts:
    """What discovery shares with the asking of nodes."""

    database: Database
    registry: NodeRegistry
    refusals: RefusalMemory
    permissions: PermissionService
    placing: PlacingService
    planner: Planner
    clock: Clock


def add_discovery(app: web.Application, settings: GatewaySettings, parts: DiscoveryParts) -> None:
    """Put the services where the handlers find them; the routes come with ``add_discovery_api``."""
    app[DISCOVERY] = DiscoveryService(
        parts.registry,
        parts.refusals,
        parts.permissions,
        parts.placing,
        parts.clock,
        settings.federation.deadline_s,
    )
    app[ESTIMATES] = EstimateService(parts.planner, parts.registry, parts.clock, uuid4)
    app[SHOWS_REPLICAS] = settings.placement.shows_replicas
    app[SOFTWARE] = SoftwareService(
        parts.database,
        SoftwareStore(),
        Fetcher(settings.discovery),
        parts.clock,
        settings.discovery,
        uuid4,
    )
    security = tuple(SECURITY[scheme] for scheme in settings.authentication.schemes)
    app[REGISTERED] = Registered(security, parts.clock.now())


def add_discovery_api(app: web.Application) -> None:
    """Serve discovery, the register of templates, and what IVOA registries ask for."""
    add_discovery_routes(app)
    add_software_routes(app)
    add_vosi_routes(app)
