"""Quotas for those who test something else."""

from gateway.clock import Clock
from gateway.domain.permissions import Permissions
from gateway.services.permissions import PermissionService
from gateway.services.quotas import QuotaService
from gateway.stores.database import Database
from gateway.stores.quotas import QuotaStore


def no_quotas(database: Database, clock: Clock) -> QuotaService:
    """The service of a gateway whose settings limit nobody."""
    return QuotaService(database, QuotaStore(), PermissionService(Permissions()), clock)
