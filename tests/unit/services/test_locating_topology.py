"""The topology in use: the settings first, catalogues in passing, old maps rather than none."""

from datetime import UTC, datetime, timedelta

from gateway.clients.lakes.errors import LakeStatusError
from gateway.clients.topology import Downtime, MappedArea, SiteMap
from gateway.domain.holdings import Area, DeclaredLink, LakeLink, Site
from gateway.domain.reasons import ReasonCode
from gateway.services.locating_topology import (
    RETRY_S,
    DeclaredTopology,
    TopologyLimits,
    TopologyService,
)

BEGAN = datetime(2026, 11, 27, 12, tzinfo=UTC)
UK = Site("uk", "UKSRC", 51.5, -1.3)
UK_AREA = Area("UK_RSE", "uk", "a1")


class TurnedClock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return 1000 + self.seconds


class Source:
    """A catalogue that answers, or fails, as it is told to."""

    name = "source"

    def __init__(self, clock: TurnedClock) -> None:
        self.clock = clock
        self.is_down = False
        self.asked = 0
        self.areas: tuple[MappedArea, ...] = (MappedArea(UK_AREA),)
        self.rows: tuple[LakeLink, ...] = (LakeLink("UK", "JP", 7),)

    async def fetch(self, *, deadline: float) -> SiteMap:
        self._ask(deadline)
        return SiteMap(self.clock.now(), (UK,), self.areas)

    async def links(self, *, deadline: float) -> tuple[LakeLink, ...]:
        self._ask(deadline)
        return self.rows

    def _ask(self, deadline: float) -> None:
        assert deadline > self.clock.monotonic()
        self.asked += 1
        if self.is_down:
            raise LakeStatusError(500)


class Kept:
    """A file in memory."""

    def __init__(self, site_map: SiteMap | None = None) -> None:
        self.site_map = site_map

    async def load(self) -> SiteMap | None:
        return self.site_map

    async def save(self, site_map: SiteMap) -> None:
        self.site_map = site_map


def service(
    clock: TurnedClock,
    source: Source | None,
    *,
    declared: DeclaredTopology | None = None,
    kept: Kept | None = None,
) -> TopologyService:
    return TopologyService(
        declared or DeclaredTopology(),
        clock,
        map_source=source,
        map_file=kept or Kept(),
        link_sources=[] if source is None else [source],
        limits=TopologyLimits(),
    )


async def test_without_a_catalogue_the_settings_are_all_there_is() -> None:
    link = DeclaredLink("uk", "jp", 1e9)
    declared = DeclaredTopology((UK,), (UK_AREA,), (link,))
    topology = service(TurnedClock(), None, declared=declared)
    assert await topology.refresh_map() > 0
    current = topology.current()
    assert (current.sites, current.areas) == ({"uk": UK}, (UK_AREA,))
    assert current.declared_links == (link,)
    assert topology.notes() == ()


async def test_the_map_is_asked_for_when_it_is_due_and_changes_are_noticed() -> None:
    clock = TurnedClock()
    source = Source(clock)
    topology = service(clock, source)
    await topology.refresh_map()
    first = topology.current()
    assert (first.sites, first.areas) == ({"uk": UK}, (UK_AREA,))
    clock.seconds += 60
    await topology.refresh_map()
    assert source.asked == 1
    assert topology.current() is first  # so that nothing is worked out anew for it
    clock.seconds += 600
    source.areas = ()
    await topology.refresh_map()
    assert source.asked == 2
    assert topology.current().areas == ()


async def test_a_downtime_begins_and_ends_without_asking_again() -> None:
    clock = TurnedClock()
    source = Source(clock)
    down = Downtime(BEGAN + timedelta(seconds=100), BEGAN + timedelta(seconds=200))
    source.areas = (MappedArea(UK_AREA, (down,)),)
    topology = service(clock, source)
    seen = []
    for _ in range(4):
        wait_s = await topology.refresh_map()
        assert wait_s <= 60
        seen.append(topology.current().areas[0].is_active)
        clock.seconds += 70
    assert seen == [True, True, False, True]
    assert source.asked == 1


async def test_a_catalogue_that_fails_is_asked_again_soon_and_the_old_map_stays() -> None:
    clock = TurnedClock()
    source = Source(clock)
    topology = service(clock, source)
    await topology.refresh_map()
    source.is_down = True
    clock.seconds += 601
    assert await topology.refresh_map() <= RETRY_S
    assert topology.current().areas == (UK_AREA,)
    assert topology.notes() == ()
    clock.seconds += 1200
    await topology.refresh_map()
    (note,) = topology.notes()
    assert (note.code, note.values["age_s"]) == (ReasonCode.TOPOLOGY_STALE, "1801")
    assert topology.current().age_s == 1801
    clock.seconds += 8 * 86_400
    await topology.refresh_map()
    assert topology.current().areas == ()


async def test_after_a_restart_the_last_map_is_used_until_there_is_another() -> None:
    clock = TurnedClock()
    source = Source(clock)
    source.is_down = True
    kept = Kept(SiteMap(BEGAN - timedelta(days=1), (UK,), (MappedArea(UK_AREA),)))
    topology = service(clock, source, kept=kept)
    await topology.refresh_map()
    assert topology.current().areas == (UK_AREA,)
    assert topology.notes()
    source.is_down = False
    clock.seconds += RETRY_S
    await topology.refresh_map()
    assert topology.notes() == ()
    assert kept.site_map is not None
    assert kept.site_map.taken == clock.now()


async def test_the_settings_go_before_the_catalogue_member_by_member() -> None:
    clock = TurnedClock()
    declared = DeclaredTopology((Site("uk", inbound_bytes_per_s=5.0, latitude=50.0),))
    topology = service(clock, Source(clock), declared=declared)
    await topology.refresh_map()
    expected = Site("uk", "UKSRC", 50.0, -1.3, inbound_bytes_per_s=5.0)
    assert topology.current().sites["uk"] == expected


async def test_an_rse_that_the_settings_place_is_nowhere_else() -> None:
    clock = TurnedClock()
    source = Source(clock)
    source.areas = (
        MappedArea(Area("X", "uk", "a1", is_active=False)),
        MappedArea(Area("X", "se", "a2")),
        MappedArea(Area("Y", "se", "a3")),
    )
    declared = DeclaredTopology(areas=(Area("X", "uk"), Area("Z", "uk")))
    topology = service(clock, source, declared=declared)
    await topology.refresh_map()
    assert set(topology.current().areas) == {
        Area("X", "uk", "a1", is_active=False),  # that it is down, only the catalogue knows
        Area("Y", "se", "a3"),
        Area("Z", "uk"),
    }


async def test_links_are_kept_with_their_age_and_forgotten_when_too_old() -> None:
    clock = TurnedClock()
    source = Source(clock)
    topology = service(clock, source)
    assert await topology.refresh_links() == 900
    assert topology.current().lake_links == (LakeLink("UK", "JP", 7),)
    source.is_down = True
    clock.seconds += 900
    assert await topology.refresh_links() == RETRY_S
    assert topology.current().lake_links == (LakeLink("UK", "JP", 7, age_s=900),)
    clock.seconds += 86_400
    await topology.refresh_links()
    assert topology.current().lake_links == ()
