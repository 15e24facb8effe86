"""Where a node is put together: the one place that builds its objects."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.httpkit.application import add_documentation, new_app
from gateway.httpkit.auditing import log_call
from gateway.httpkit.auth import Authenticator
from gateway.httpkit.background import supervised
from gateway.httpkit.bearer.administration import add_tokens
from gateway.httpkit.bearer.revoked import Revocations
from gateway.httpkit.bearer.scheme import OidcScheme
from gateway.httpkit.health import LIFECYCLE, Lifecycle
from gateway.httpkit.passwords import Passwords
from gateway.httpkit.rate_limits import RateLimits
from gateway.httpkit.release import release
from gateway.httpkit.server_settings import Reads
from gateway.httpkit.shedding import Shedding
from gateway.httpkit.telemetry import HttpMetrics
from node_stub.api import NodeServices, add_api_routes
from node_stub.archive import Archive
from node_stub.clock import Clock, SteadyClock, whole_second
from node_stub.config import NodeSettings
from node_stub.drain_api import add_drain_routes
from node_stub.identities import Identities, RevokedSubjects
from node_stub.installation import Installation
from node_stub.joining import NodeDescription, add_membership, membership_of
from node_stub.ledger import Ledger
from node_stub.metrics import PREFIX, NodeMetrics
from node_stub.orphans import Orphans
from node_stub.outputs import Outputs
from node_stub.outputs_api import add_output_routes
from node_stub.platform_factory import build_platform
from node_stub.platforms.base import Platform
from node_stub.reconciler import Reconciler
from node_stub.scheduler import Scheduler
from node_stub.sessions import Sessions
from node_stub.staging.room import BYTES_PER_GIB
from node_stub.store import Store
from node_stub.sweeper import Sweeper

HEAVY: Final = frozenset({("POST", "/requests"), ("POST", "/direct")})
"""Method and route of what takes up holds."""

METRICS_PATH: Final = "/metrics"
"""Where the gauges are read."""

PROBE_WITHIN_S: Final = 2.0
"""A platform that says nothing for so long counts as down: whoever reads metrics waits ten."""

RESULTS_DIR: Final = "results"
"""Where what came out of sessions is kept, in the data directory."""


def build_app(
    settings: NodeSettings,
    data_dir: Path,
    *,
    clock: Clock | None = None,
    mint: Callable[[], UUID] = uuid4,
    platform: Platform | None = None,
    passwords: Passwords | None = None,
) -> web.Application:
    """A node, ready to be served; it opens its files when it starts.

    Parameters
    ----------
    mint
        Gives a fresh UUID at each call.
    platform
        What sessions run on; by default the one that the settings say.
    """
    clock = clock or SteadyClock()
    store = Store(data_dir / settings.database_path)
    max_bytes = round(settings.retention.results_gib * BYTES_PER_GIB)
    archive = Archive(data_dir / RESULTS_DIR, max_bytes=max_bytes)
    platform = platform or build_platform(settings, data_dir, archive, clock)
    tokens = OidcScheme(settings.authentication.issuers, Revocations(RevokedSubjects(store)))
    authenticator = Authenticator(
        Identities(store), settings.admin, settings.authentication, passwords, (tokens,)
    )
    http_metrics = HttpMetrics(PREFIX, release())
    app = new_app(
        authenticator=authenticator,
        metrics=http_metrics,
        lifecycle=Lifecycle({"database": store.is_open}),
        shedding=Shedding(settings.shedding, HEAVY, PREFIX, http_metrics.registry),
        rate_limits=RateLimits(
            settings.rate_limits, time.monotonic, PREFIX, http_metrics.registry, heavy=HEAVY
        ),
        audit=log_call,
        trusted_proxies=settings.trusted_proxies,
        max_body_bytes=settings.max_body_bytes,
    )
    add_tokens(app, tokens)
    installation = Installation(store, mint)
    _add_node(
        app,
        settings,
        store,
        platform,
        archive,
        clock,
        mint,
        NodeMetrics(http_metrics.registry),
        installation,
    )
    description = NodeDescription(settings, platform, installation, release())
    membership = membership_of(settings, data_dir, description, app[LIFECYCLE])
    add_membership(app, membership)
    add_drain_routes(app, installation, membership.tell)
    add_documentation(
        app,
        authenticator=authenticator,
        **_described(settings),
        public_url=settings.public_url,
    )
    return app


def _add_node(
    app: web.Application,
    settings: NodeSettings,
    store: Store,
    platform: Platform,
    archive: Archive,
    clock: Clock,
    mint: Callable[[], UUID],
    metrics: NodeMetrics,
    installation: Installation,
) -> None:
    ledger = Ledger(settings.capacity)
    rules = settings.rules(platform.kinds)
    reconciler = Reconciler(store, platform, ledger, settings.reconciler, clock, metrics)

    def awake(session: UUID | None) -> None:
        if session is None:
            sweeper.wake()
        else:
            reconciler.wake(session)

    sessions = Sessions(
        store,
        ledger,
        clock,
        awake,
        has_private_reads=settings.authentication.reads is Reads.OWNER,
    )
    scheduler = Scheduler(
        store,
        platform,
        ledger,
        rules,
        settings.offers,
        clock,
        mint,
        metrics,
        sessions.expire,
        awake,
        lambda: installation.is_draining,
    )
    sweeper = Sweeper(sessions, store, ledger, archive, settings.retention, clock)

    @web.middleware
    async def show_metrics(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Gauges are set when they are asked for."""
        if request.path == METRICS_PATH:
            expected = await store.holding_count()
            metrics.show_ledger(ledger, whole_second(clock.now()), expected)
            metrics.show_sessions(await store.phase_counts())
            metrics.show_platform(platform.name, is_up=await _is_up(platform))
        return await handler(request)

    app.middlewares.append(show_metrics)
    app.cleanup_ctx.append(
        _opened(
            store, platform, installation, partial(_fill_ledger, ledger, sessions, store, clock)
        )
    )
    app.cleanup_ctx.append(supervised("reconciler", reconciler.run))
    app.cleanup_ctx.append(supervised("platform_events", reconciler.follow_events))
    orphans = Orphans(store, platform, settings.reconciler, metrics)
    app.cleanup_ctx.append(supervised("orphans", orphans.run))
    app.cleanup_ctx.append(supervised("sweeper", sweeper.run))
    keep_for = timedelta(days=settings.retention.results_days)
    outputs = Outputs(sessions, archive, platform, keep_for)
    add_api_routes(app, NodeServices(scheduler, sessions, outputs, settings.public_url))
    add_output_routes(app, outputs, settings.public_url)


async def _is_up(platform: Platform) -> bool:
    try:
        async with asyncio.timeout(PROBE_WITHIN_S):
            return (await platform.probe()).is_up
    except TimeoutError:
        return False


def _opened(
    store: Store,
    platform: Platform,
    installation: Installation,
    fill_ledger: Callable[[], Awaitable[None]],
) -> Callable[[web.Application], AsyncIterator[None]]:
    """A cleanup context: files and platform are open, and the ledger says what they say."""

    async def context(_app: web.Application) -> AsyncIterator[None]:
        await store.open()
        try:
            await installation.open()
            await platform.open()
            try:
                await fill_ledger()
                yield
            finally:
                await platform.close()
        finally:
            await store.close()

    return context


async def _fill_ledger(ledger: Ledger, sessions: Sessions, store: Store, clock: Clock) -> None:
    """Enter what was booked before the last stop, as far as it still lies ahead."""
    await sessions.expire()
    records = await store.booked_sessions()
    bookings = [record.booking for record in records if record.booking is not None]
    for booking in sorted(bookings, key=lambda b: min((span.start for span in b.spans), default=0)):
        ledger.restore(booking)
    ledger.prune(whole_second(clock.now()) - 1)


def _described(settings: NodeSettings) -> dict[str, str]:
    return {
        "title": f"ExecutionBroker node {settings.name}",
        "version": release(),
        "description": "Offers what one site can run, and runs what is accepted.",
    }
