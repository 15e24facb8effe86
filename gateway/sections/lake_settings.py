"""The sections of the gateway's settings about data: lakes, sites, links, and who knows them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.domain.holdings import Area, DeclaredLink, Site
from gateway.wire.secret import Secret

BYTES_PER_GBIT: Final = 125_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """The account of this gateway at an OIDC issuer, for tokens of its own (client credentials).

    ``audience`` and ``scope`` are those of the service that is asked with them.
    """

    token_url: str
    client_id: str
    client_secret: Secret
    audience: str | None = None
    scope: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticLakeSettings:
    """A catalogue in a file, see ``gateway.sections.lake_catalogue``."""

    file: Path
    name: str = "static"
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RucioLakeSettings:
    """A Rucio, asked with a user name and password, a token, or tokens of an OIDC issuer.

    ``auth_url`` is where one logs in, by default ``url``. ``endpoints`` are other URLs by which
    clients may name it. ``namespaces`` are patterns of the scopes it is asked about, all if none.
    ``batch`` identifiers are asked about in one call. ``links``: what it knows of transfers is
    used.
    """

    url: str
    name: str = "rucio"
    auth_url: str | None = None
    account: str = "root"
    username: str | None = None
    password: Secret | None = None
    token: Secret | None = None
    oidc: OidcSettings | None = None
    ca_file: Path | None = None
    endpoints: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    batch: int = 500
    links: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DmApiLakeSettings:
    """A data management API of SRCNet; ``url`` includes its version: ``https://…/api/v1``."""

    url: str
    name: str = "dm-api"
    token: Secret | None = None
    oidc: OidcSettings | None = None
    ca_file: Path | None = None
    namespaces: tuple[str, ...] = ()


LakeSettings = StaticLakeSettings | RucioLakeSettings | DmApiLakeSettings
"""Every kind of data lake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCapabilitiesSettings:
    """SRCNet's site capabilities API; ``url`` includes its version: ``https://…/api/v1``."""

    url: str
    token: Secret | None = None
    oidc: OidcSettings | None = None
    ca_file: Path | None = None
    refresh_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings:
    """A site: where it is, what its network can take, and what lies there.

    ``group`` is the SRCNet node it belongs to. ``rses`` are the storage elements there, those of
    ``tapes`` on tape. Data at URLs on ``hosts`` (``data.example.org``, ``*.example.org``) lie there
    too.
    """

    latitude: float | None = None
    longitude: float | None = None
    group: str | None = None
    inbound_gbit_s: float | None = None
    outbound_gbit_s: float | None = None
    rses: tuple[str, ...] = ()
    tapes: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def to_site(self, name: str) -> Site:
        """As the rest of the gateway knows it."""
        return Site(
            name,
            self.group,
            self.latitude,
            self.longitude,
            _bytes_per_s(self.inbound_gbit_s),
            _bytes_per_s(self.outbound_gbit_s),
        )

    def to_areas(self, name: str) -> tuple[Area, ...]:
        """Its storage as the rest of the gateway knows it."""
        disks = (Area(rse, name) for rse in self.rses)
        return (*disks, *(Area(rse, name, is_tape=True) for rse in self.tapes))


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """The rate from one site to another; goes before everything that is measured or reckoned."""

    source: str
    target: str
    gbit_s: float
    both_ways: bool = False

    def to_links(self) -> tuple[DeclaredLink, ...]:
        """As the rest of the gateway knows it."""
        rate = self.gbit_s * BYTES_PER_GBIT
        there = DeclaredLink(self.source, self.target, rate)
        return (there, DeclaredLink(self.target, self.source, rate)) if self.both_ways else (there,)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatingSettings:
    """How lakes are asked, and how long answers are good; ``placement`` says who waits how long.

    A look-up goes on for ``fetch_s`` whoever waits; connecting takes ``connect_s`` at most, and
    silence within an answer ``silence_s``. One that says nothing for ``failing_s`` counts as
    failed; after ``failures`` in a row a lake is left alone for ``rest_s``. Answers about files and
    closed datasets are good for ``closed_s``, about open ones for ``open_s``, about what is not
    there for ``negative_s``, and what was found for ``stale_s`` where there is nothing newer.
    """

    fetch_s: float = 20.0
    failing_s: float = 1.5
    connect_s: float = 0.5
    silence_s: float = 5.0
    failures: int = 5
    rest_s: float = 15.0
    closed_s: float = 300.0
    open_s: float = 60.0
    negative_s: float = 30.0
    stale_s: float = 86_400.0
    entries: int = 50_000
    max_mib: int = 64


@dataclass(frozen=True, kw_only=True)
class LakeSections:
    """The sections together; the settings of the gateway inherit from it."""

    data_lake: tuple[LakeSettings, ...] = ()
    topology: SiteCapabilitiesSettings | None = None
    sites: dict[str, SiteSettings] = field(default_factory=dict)
    links: tuple[LinkSettings, ...] = ()
    locating: LocatingSettings = field(default_factory=LocatingSettings)


def _bytes_per_s(gbit_s: float | None) -> float | None:
    return None if gbit_s is None else gbit_s * BYTES_PER_GBIT
