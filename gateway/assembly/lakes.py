"""Builds what locates data, out of the settings: a part of the composition root."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, assert_never

from prometheus_client import CollectorRegistry

from gateway.clients.lakes.authorized import AuthorizedCaller
from gateway.clients.lakes.base import DataLake, LakeClient
from gateway.clients.lakes.combined import CombinedLake, LakeRoute
from gateway.clients.lakes.connections import ConnectionLimits, LakeConnections
from gateway.clients.lakes.dm_api import DmApiLake
from gateway.clients.lakes.rucio import RucioLake, RucioLimits
from gateway.clients.lakes.rucio_api import RucioApi, is_token_refused, rucio_token
from gateway.clients.lakes.rucio_links import RucioLinks
from gateway.clients.lakes.static import StaticLake
from gateway.clients.lakes.tokens import (
    ClientCredentials,
    FixedToken,
    RucioLogin,
    TokenCache,
    TokenSource,
)
from gateway.clients.topology import LinkSource
from gateway.clients.topology_file import SavedMap
from gateway.clients.topology_scapi import SiteCapabilities
from gateway.clock import Clock
from gateway.sections.lake_catalogue import load_catalogue
from gateway.sections.lake_settings import (
    DmApiLakeSettings,
    LakeSections,
    LakeSettings,
    LocatingSettings,
    RucioLakeSettings,
    SiteCapabilitiesSettings,
    StaticLakeSettings,
)
from gateway.services.background import Duty
from gateway.services.locating import Lakes, Locator, endpoint_key
from gateway.services.locating_breaker import BreakerLimits
from gateway.services.locating_cache import AnswerCache, CacheLimits
from gateway.services.locating_guard import GuardedLake, GuardLimits
from gateway.services.locating_metrics import LocatingMetrics
from gateway.services.locating_resources import HostSites
from gateway.services.locating_topology import (
    DeclaredTopology,
    TopologyLimits,
    TopologyService,
)
from gateway.services.locating_watch import LakeWatch

MAP_FILE: Final = "site-map.json"
"""Where in the data directory the last map of sites is kept."""


@dataclass(frozen=True, slots=True)
class LakeParts:
    """What the gateway needs of all this. Use ``running`` for as long as the gateway runs."""

    locator: Locator
    topology: TopologyService
    duties: tuple[Duty, ...]
    connections: LakeConnections
    guarded: tuple[GuardedLake, ...]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep connections while this is entered, and end what is under way after."""
        async with self.connections:
            try:
                yield
            finally:
                for lake in self.guarded:
                    await lake.aclose()


def build_lakes(
    settings: LakeSections, data_dir: Path, clock: Clock, registry: CollectorRegistry
) -> LakeParts:
    """Everything that locates data. ``data_dir`` is there when it runs; nothing is asked before.

    Raises
    ------
    SettingsError
        The catalogue of a static lake cannot be used.
    """
    builder = _Builder(settings.locating, clock, LocatingMetrics(registry))
    routes = [LakeRoute(builder.lake(lake), lake.namespaces) for lake in settings.data_lake]
    topology = TopologyService(
        _declared(settings),
        clock,
        map_source=builder.map_source(settings.topology),
        map_file=SavedMap(data_dir / MAP_FILE),
        link_sources=builder.link_sources,
        limits=_topology_limits(settings.topology),
    )
    hosts = HostSites((host, name) for name, site in settings.sites.items() for host in site.hosts)
    locator = Locator(
        Lakes(CombinedLake(routes), builder.by_endpoint),
        topology,
        hosts,
        clock,
        builder.metrics,
    )
    duties = []
    if builder.guarded:
        watch = LakeWatch(builder.guarded, clock, builder.metrics)
        duties.append(Duty("watch_lakes", watch.look, asyncio.Event()))
    if settings.topology is not None:
        duties.append(Duty("refresh_map", topology.refresh_map, asyncio.Event()))
    if builder.link_sources:
        duties.append(Duty("refresh_links", topology.refresh_links, asyncio.Event()))
    return LakeParts(locator, topology, tuple(duties), builder.connections, tuple(builder.guarded))


class _Builder:
    """Builds lakes one by one, all over the same connections."""

    def __init__(self, settings: LocatingSettings, clock: Clock, metrics: LocatingMetrics) -> None:
        self._settings = settings
        self._clock = clock
        self.metrics = metrics
        self.connections = LakeConnections(
            ConnectionLimits(connect_s=settings.connect_s, silence_s=settings.silence_s)
        )
        self.guarded: list[GuardedLake] = []
        self.by_endpoint: dict[str, DataLake] = {}
        self.link_sources: list[LinkSource] = []

    def lake(self, settings: LakeSettings) -> DataLake:
        """One lake."""
        match settings:
            case StaticLakeSettings():
                return StaticLake(settings.name, load_catalogue(settings.file).holdings())
            case RucioLakeSettings():
                return self._rucio(settings)
            case DmApiLakeSettings():
                caller = self._caller(settings)
                return self._guard(DmApiLake(settings.name, caller))
            case _:
                assert_never(settings)

    def map_source(self, settings: SiteCapabilitiesSettings | None) -> SiteCapabilities | None:
        """Who knows the sites, if anybody does."""
        if settings is None:
            return None
        return SiteCapabilities(self._caller(settings), self._clock.now)

    def _rucio(self, settings: RucioLakeSettings) -> DataLake:
        trust = _trust(settings.ca_file)
        source: TokenSource | None
        if settings.username is not None and settings.password is not None:
            source = RucioLogin(
                connections=self.connections,
                url=settings.auth_url or settings.url,
                account=settings.account,
                username=settings.username,
                password=settings.password,
                trust=trust,
            )
        else:
            source = self._token_source(settings)
        caller = AuthorizedCaller(
            self.connections,
            settings.url,
            None if source is None else TokenCache(source),
            to_headers=rucio_token,
            is_refused=is_token_refused,
            trust=trust,
        )
        api = RucioApi(caller)
        lake = self._guard(RucioLake(settings.name, api, RucioLimits(batch=settings.batch)))
        urls: Iterable[str] = (settings.url, *settings.endpoints)
        self.by_endpoint.update({endpoint_key(url): lake for url in urls})
        if settings.links:
            self.link_sources.append(RucioLinks(settings.name, api))
        return lake

    def _caller(self, settings: DmApiLakeSettings | SiteCapabilitiesSettings) -> AuthorizedCaller:
        source = self._token_source(settings)
        return AuthorizedCaller(
            self.connections,
            settings.url,
            None if source is None else TokenCache(source),
            trust=_trust(settings.ca_file),
        )

    def _token_source(
        self, settings: RucioLakeSettings | DmApiLakeSettings | SiteCapabilitiesSettings
    ) -> TokenSource | None:
        if settings.token is not None:
            return FixedToken(settings.token)
        oidc = settings.oidc
        if oidc is None:
            return None
        return ClientCredentials(
            connections=self.connections,
            token_url=oidc.token_url,
            client_id=oidc.client_id,
            client_secret=oidc.client_secret,
            audience=oidc.audience,
            scope=oidc.scope,
        )

    def _guard(self, client: LakeClient) -> GuardedLake:
        settings = self._settings
        limits = GuardLimits(
            fetch_s=settings.fetch_s,
            silent_s=settings.failing_s,
            cache=CacheLimits(
                closed_s=settings.closed_s,
                open_s=settings.open_s,
                negative_s=settings.negative_s,
                stale_s=settings.stale_s,
                entries=settings.entries,
                max_bytes=settings.max_mib << 20,
            ),
            breaker=BreakerLimits(failures=settings.failures, rest_s=settings.rest_s),
        )
        cache = AnswerCache(limits.cache, random.random)
        lake = GuardedLake(client, cache, limits, self._clock, self.metrics)
        self.guarded.append(lake)
        return lake


def _declared(settings: LakeSections) -> DeclaredTopology:
    return DeclaredTopology(
        tuple(site.to_site(name) for name, site in settings.sites.items()),
        tuple(area for name, site in settings.sites.items() for area in site.to_areas(name)),
        tuple(link for one in settings.links for link in one.to_links()),
    )


def _topology_limits(settings: SiteCapabilitiesSettings | None) -> TopologyLimits:
    return TopologyLimits() if settings is None else TopologyLimits(map_s=settings.refresh_s)


def _trust(ca_file: Path | None) -> ssl.SSLContext | None:
    return None if ca_file is None else ssl.create_default_context(cafile=str(ca_file))
