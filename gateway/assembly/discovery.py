"""What belongs to discovery, put together."""

from uuid import uuid4

from aiohttp import web

from gateway.api.discovery import DISCOVERY, ESTIMATES, SHOWS_REPLICAS, add_discovery_routes
from gateway.api.software import SOFTWARE, add_software_routes
from gateway.api.vosi import REGISTERED, SECURITY, Registered, add_vosi_routes
from gateway.assembly.asking import AskingParts
from gateway.assembly.foundation import Foundation
from gateway.clients.fetching import Fetcher
from gateway.services.discovery import DiscoveryService
from gateway.services.estimate import EstimateService
from gateway.services.software import SoftwareService
from gateway.stores.software import SoftwareStore


def add_discovery(app: web.Application, base: Foundation, asking: AskingParts) -> None:
    """Put the services where the handlers find them; the routes come with ``add_discovery_api``."""
    settings, registry, clock = base.settings, base.registry, base.clock
    app[DISCOVERY] = DiscoveryService(
        registry,
        asking.refusals,
        base.permissions,
        asking.placing,
        clock,
        settings.federation.deadline_s,
    )
    app[ESTIMATES] = EstimateService(asking.planner, registry, clock, uuid4)
    app[SHOWS_REPLICAS] = settings.placement.shows_replicas
    app[SOFTWARE] = SoftwareService(
        base.database,
        SoftwareStore(),
        Fetcher(settings.discovery),
        clock,
        settings.discovery,
        uuid4,
    )
    security = tuple(SECURITY[scheme] for scheme in settings.authentication.schemes)
    app[REGISTERED] = Registered(security, clock.now())


def add_discovery_api(app: web.Application) -> None:
    """Serve discovery, the register of templates, and what IVOA registries ask for."""
    add_discovery_routes(app)
    add_software_routes(app)
    add_vosi_routes(app)
