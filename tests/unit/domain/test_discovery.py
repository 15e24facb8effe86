"""What may be said of nodes and kinds before anybody is asked."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.candidates import RefusalMemory
from gateway.domain.capabilities import Capabilities
from gateway.domain.discovery import (
    KindFacts,
    Known,
    Speed,
    data_of,
    kinds_of,
    speed_of,
    without_open_places,
)
from gateway.domain.placeholders import open_places
from gateway.wire.documents import Document
from gateway.wire.kinds import (
    DOCKER_CONTAINER,
    IVOA_DATA,
    JUPYTER_NOTEBOOK,
    KIND_BASE,
    RUCIO_DATA,
    SIMPLE_COMPUTE,
    SIMPLE_DATA,
    SIMPLE_VOLUME,
)

DOCKER = frozenset({DOCKER_CONTAINER})
NOW = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("facts", "known"),
    [
        (KindFacts(), Known.UNKNOWN),
        (KindFacts(Capabilities("node")), Known.UNKNOWN),
        (KindFacts(Capabilities("node", kinds=DOCKER)), Known.YES),
        (KindFacts(Capabilities("node", kinds=frozenset({JUPYTER_NOTEBOOK}))), Known.NO),
        (KindFacts(Capabilities("node", kinds=frozenset({SIMPLE_COMPUTE}))), Known.UNKNOWN),
        (KindFacts(offered=DOCKER), Known.YES),
        (KindFacts(refused=DOCKER), Known.NO),
        (KindFacts(Capabilities("node", kinds=DOCKER), refused=DOCKER), Known.NO),
        (KindFacts(offered=DOCKER, refused=DOCKER), Known.NO),
    ],
)
def test_a_node_knows_what_it_says_or_has_shown_and_nothing_is_guessed(
    facts: KindFacts, known: Known
) -> None:
    assert facts.knows(DOCKER_CONTAINER) is known


def test_every_node_is_counted_once_for_every_kind() -> None:
    nodes = [KindFacts(offered=DOCKER), KindFacts(refused=DOCKER), KindFacts(), KindFacts()]
    docker, own = kinds_of(nodes, frozenset({"uri:own"}))
    assert docker == {
        "kind": DOCKER_CONTAINER,
        "name": "docker-container",
        "nodes": 1,
        "refusing": 1,
        "unknown": 2,
    }
    assert (own["kind"], own["nodes"], own["unknown"]) == ("uri:own", 0, 4)


def test_kinds_are_remembered_as_offered_and_as_refused_until_that_is_over() -> None:
    memory = RefusalMemory(timedelta(minutes=1))
    memory.forget("alpha", DOCKER)
    memory.learn("alpha", [frozenset({"uri:a"}), frozenset({"uri:b", "uri:c"})], NOW)
    assert memory.offered("alpha") == DOCKER
    assert memory.offered("beta") == frozenset()
    assert memory.refused("alpha", NOW) == {"uri:a"}, "of two it is not known which"
    assert memory.refused("alpha", NOW + timedelta(minutes=2)) == frozenset()


def test_what_nodes_offer_cannot_fill_the_memory() -> None:
    memory = RefusalMemory()
    for number in range(1000):
        memory.forget("alpha", frozenset({f"uri:{number}"}))
    assert len(memory.offered("alpha")) <= 64


@pytest.mark.parametrize(
    ("median_s", "speed"),
    [
        (None, Speed.UNKNOWN),
        (0.001, Speed.QUICK),
        (0.25, Speed.QUICK),
        (0.3, Speed.MODERATE),
        (1.0, Speed.MODERATE),
        (1.1, Speed.SLOW),
    ],
)
def test_speeds(median_s: float | None, speed: Speed) -> None:
    assert speed_of(median_s) is speed


def test_identifiers_become_resources_in_the_order_of_asking() -> None:
    rucio, ivoa = data_of([("test", "a:b")], ["ivo://x/y?z"])
    assert (rucio.index, rucio.kind, rucio.name) == (0, RUCIO_DATA, "test:a:b")
    assert rucio.document["rucio"] == {"scope": "test", "object": "a:b"}
    assert (ivoa.index, ivoa.kind, ivoa.document["ivoa"]) == (
        1,
        IVOA_DATA,
        {"ivoid": "ivo://x/y?z"},
    )


def abstract(family: str) -> Document:
    return {"kind": f"{KIND_BASE}/{family}/abstract-{family}-resource.yaml"}


def component(kind: str, family: str) -> st.SearchStrategy[Document]:
    return st.sampled_from([{"kind": kind}, abstract(family)])


DATA = st.lists(component(SIMPLE_DATA, "data"), max_size=4)
COMPUTE = st.one_of(
    st.just(abstract("compute")),
    st.fixed_dictionaries(
        {
            "kind": st.just(SIMPLE_COMPUTE),
            "volumes": st.lists(component(SIMPLE_VOLUME, "volume"), max_size=3),
        }
    ),
)


@given(
    st.fixed_dictionaries(
        {"executable": component(DOCKER_CONTAINER, "executable"), "schedule": st.just({"a": [1]})},
        optional={"data": DATA, "compute": COMPUTE},
    )
)
def test_without_placeholders_all_the_rest_is_left(document: Document) -> None:
    certain = without_open_places(document)
    assert [place for place in open_places(certain) if place.kind is not None] == []
    assert certain["schedule"] == document["schedule"]
    concrete = [item for item in document.get("data", ()) if item["kind"] == SIMPLE_DATA]
    assert certain.get("data", []) == concrete


def test_a_request_without_placeholders_stays_as_it_is() -> None:
    document: Document = {"executable": {"kind": DOCKER_CONTAINER}, "data": [], "more": None}
    assert without_open_places(document) == document
