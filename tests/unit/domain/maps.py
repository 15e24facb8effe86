"""Sites, storage and data for the tests of placement, and strategies that make them."""

from collections.abc import Mapping

from hypothesis import strategies as st

from gateway.domain.holdings import (
    Area,
    Copy,
    DeclaredLink,
    Did,
    DidKind,
    Holding,
    LakeLink,
    Located,
    Part,
    Place,
    Site,
    Topology,
)
from gateway.domain.network import Network, NodePlace, TransferModel
from gateway.domain.placement import NodePlacement, place
from gateway.domain.reasons import ReasonCode, reason

GB = 10**9
TB = 10**12

SITES = {
    "uk": Site("uk", None, 51.5707, -1.3088, 100 * GB / 8, 100 * GB / 8),
    "se": Site("se", None, 57.3958, 11.9266),
    "jp": Site("jp", None, 35.6754, 139.5369),
    "au": Site("au", None, -31.9797, 115.8181),
    "za": Site("za", None, -33.9344, 18.4778),
    "ca": Site("ca", None, 48.5201, -123.4188),
}
"""Six sites of the SRCNet; the link of the first takes 100 Gbit/s, those of the others 10."""

AREAS = tuple(Area(f"{name.upper()}_RSE", name) for name in SITES)
WORLD = Topology(SITES, AREAS)

NODES = tuple(NodePlace(f"node-{name}", name) for name in SITES)

DID = Did("ska-mid", "obs-1")


def copy_at(site: str, **facts: object) -> Copy:
    """A copy at the storage of a site, whole unless something else is said."""
    given: dict[str, object] = {"place": Place(rse=f"{site.upper()}_RSE")} | facts
    return Copy(**given)  # type: ignore[arg-type]


def part(size: int | None, *sites: str | Copy, files: int = 1, name: str = "f") -> Part:
    """A part of so many bytes, whole at these sites."""
    copies = tuple(copy_at(one) if isinstance(one, str) else one for one in sites)
    return Part(name, size, files, copies)


def holding(*parts: Part, kind: DidKind = DidKind.FILE) -> Holding:
    """Data in these parts."""
    sizes = [one.bytes for one in parts]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    return Holding(DID, kind, total, sum(one.files or 0 for one in parts), parts)


def found(*holdings: Holding, lost: int = 0, topology: Topology = WORLD) -> Located:
    """What was located: these, and so many more that nobody knows."""
    why = reason(ReasonCode.DATA_NOT_FOUND, data="x")
    missing = dict.fromkeys(range(len(holdings), len(holdings) + lost), why)
    return Located(dict(enumerate(holdings)), missing, topology=topology)


def placed(
    located: Located,
    nodes: tuple[NodePlace, ...] = NODES,
    model: TransferModel | None = None,
) -> Mapping[str, NodePlacement]:
    """The placements by the name of the site."""
    network = Network(located.topology, nodes, model)
    placements = place(located, nodes, network)
    return {name.removeprefix("node-"): one for name, one in placements.items()}


_NAMES = tuple(SITES)
_SIZES = st.integers(0, 10 * TB)
_COUNTS = st.integers(1, 1000)

whole_copies: st.SearchStrategy[Copy] = st.builds(
    copy_at, st.sampled_from(_NAMES), is_tape=st.booleans()
)

parts: st.SearchStrategy[Part] = st.builds(
    Part,
    st.just("f"),
    _SIZES,
    _COUNTS,
    st.lists(whole_copies, min_size=1, max_size=4).map(tuple),
)
"""Parts that lie whole somewhere, on disk or on tape."""


@st.composite
def _partly_held(draw: st.DrawFn) -> Part:
    size, files = draw(_SIZES), draw(_COUNTS)
    some = st.builds(
        lambda site, have, count: copy_at(site, bytes=have, files=count, is_complete=False),
        st.sampled_from(_NAMES),
        st.integers(0, size),
        st.integers(0, files),
    )
    copies = draw(st.lists(whole_copies | some, min_size=1, max_size=5))
    return Part("p", size, files, tuple(copies))


partly_held: st.SearchStrategy[Part] = _partly_held()
"""Parts of which some places have only some."""

links: st.SearchStrategy[tuple[DeclaredLink, ...]] = st.lists(
    st.builds(
        DeclaredLink,
        st.sampled_from(_NAMES),
        st.sampled_from(_NAMES),
        st.integers(1, 100 * GB).map(float),
    ),
    max_size=6,
).map(tuple)

lake_links: st.SearchStrategy[tuple[LakeLink, ...]] = st.lists(
    st.builds(
        LakeLink,
        st.sampled_from([area.rse for area in AREAS]),
        st.sampled_from([area.rse for area in AREAS]),
        st.none() | st.integers(0, 300),
        st.none() | st.integers(0, 100 * TB),
        st.none() | st.integers(0, 500),
        st.none() | st.integers(0, 500),
        st.none() | st.integers(0, 500),
        st.just(60.0),
    ),
    max_size=8,
).map(tuple)

topologies: st.SearchStrategy[Topology] = st.builds(
    Topology,
    st.sets(st.sampled_from(_NAMES)).map(lambda names: {name: SITES[name] for name in names}),
    st.just(AREAS),
    links,
    lake_links,
)
"""Maps on which some sites have no position, with links that are declared or were seen."""

holdings: st.SearchStrategy[list[Holding]] = st.lists(
    st.lists(parts | partly_held, min_size=1, max_size=4).map(lambda some: holding(*some)),
    min_size=1,
    max_size=4,
)
