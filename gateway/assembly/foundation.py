"""What every part of a gateway stands on: built first; the composition root opens and closes it."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from gateway.clock import Clock
from gateway.config import GatewaySettings
from gateway.services.gateway_metrics import GatewayMetrics
from gateway.services.installation import Installation
from gateway.services.node_calls import NodeCalls
from gateway.services.permissions import PermissionService
from gateway.services.quotas import QuotaService
from gateway.services.registry import NodeRegistry
from gateway.services.transitions import Stores
from gateway.stores.database import Database
from gateway.stores.idempotency import IdempotencyStore
from gateway.stores.offersets import OfferSetStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """One of each, shared by all parts. ``counts`` are metrics that several of them count in."""

    settings: GatewaySettings
    database: Database
    clock: Clock
    stores: Stores
    offersets: OfferSetStore
    keys: IdempotencyStore
    registry: NodeRegistry
    nodes: NodeCalls
    permissions: PermissionService
    quotas: QuotaService
    installation: Installation
    metrics: CollectorRegistry
    counts: GatewayMetrics
