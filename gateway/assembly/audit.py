"""Builds the audit trail and the rate limits: a part of the composition root."""

import asyncio

from gateway.api.events import EVENT_ROUTES
from gateway.api.requests import HEAVY
from gateway.clock import Clock
from gateway.httpkit.rate_limits import RateLimits
from gateway.httpkit.rate_settings import RateLimitSettings
from gateway.httpkit.telemetry import HttpMetrics
from gateway.services.audit import AuditTrail
from gateway.services.audit_metrics import AuditMetrics
from gateway.services.background import Duty
from gateway.services.gateway_metrics import PREFIX
from gateway.settings import AuditSettings
from gateway.stores.audit import AuditStore
from gateway.stores.database import Database


def build_audit(
    database: Database, clock: Clock, settings: AuditSettings, metrics: HttpMetrics
) -> AuditTrail:
    """The audit trail, to be flushed before the database is closed."""
    return AuditTrail(database, AuditStore(), clock, settings, AuditMetrics(metrics.registry))


def duties_of_audit(audit: AuditTrail) -> tuple[Duty, ...]:
    """What saves its entries, and deletes old ones."""
    return (
        Duty("audit", audit.run_due, audit.wake),
        Duty("forget_audit", audit.forget_old, asyncio.Event()),
    )


def build_rate_limits(
    settings: RateLimitSettings, clock: Clock, metrics: HttpMetrics
) -> RateLimits:
    """The limits on how often each caller may call."""
    return RateLimits(
        settings, clock.monotonic, PREFIX, metrics.registry, heavy=HEAVY, events=EVENT_ROUTES
    )
