"""Placement as ordinary metrics: only what is known, beside what the node itself says."""

from gateway.domain.network import LinkBasis
from gateway.domain.placement_metrics import with_placement_metrics
from gateway.wire.documents import Document
from gateway.wire.kinds import BYTES_TO_MOVE, COMPUTE_PERFORMANCE, DATA_PROXIMITY, STAGING_TIME
from tests.unit.domain.maps import TB, found, holding, part, placed

FAR = placed(found(holding(part(TB, "uk"))))["se"].to_public()
THEIRS = {"type": STAGING_TIME, "min": 1.0, "max": 1.0}
SPEED = {"type": COMPUTE_PERFORMANCE, "min": 9.0}


def shown(placement: Document | None, phase: str = "OFFERED", *metrics: Document) -> list[Document]:
    """The metrics of a session with this placement."""
    session: Document = {"phase": phase, "metrics": list(metrics)}
    federation = None if placement is None else {"placement": placement}
    listed: list[Document] = with_placement_metrics(session, federation)["metrics"]
    return listed


def test_an_offer_gets_what_is_known_as_metrics_of_the_schema() -> None:
    by_type = {metric["type"]: metric for metric in shown(FAR)}
    assert set(by_type) == {DATA_PROXIMITY, STAGING_TIME, BYTES_TO_MOVE}
    assert by_type[BYTES_TO_MOVE]["min"] == by_type[BYTES_TO_MOVE]["max"] == float(TB)
    assert all(isinstance(metric["min"], float) for metric in by_type.values())
    assert all(metric["kind"].endswith("simple-minmax-float-metric.yaml") for metric in shown(FAR))


def test_on_an_offer_the_gateway_stands_in_place_of_the_nodes_word() -> None:
    types = [metric["type"] for metric in shown(FAR, "OFFERED", SPEED, THEIRS)]
    assert types == [COMPUTE_PERFORMANCE, DATA_PROXIMITY, STAGING_TIME, BYTES_TO_MOVE]


def test_what_a_node_has_measured_stays_when_the_session_runs() -> None:
    metrics = shown(FAR, "RUNNING", THEIRS)
    assert metrics[0] is THEIRS
    assert [metric["type"] for metric in metrics].count(STAGING_TIME) == 1


def test_where_something_is_not_known_nothing_is_said() -> None:
    partly = placed(found(holding(part(TB, "uk")), lost=1))["se"].to_public()
    assert shown(partly, "OFFERED", SPEED) == [SPEED]
    lost = placed(found(lost=1))["se"].to_public()
    assert shown(lost) == []
    assert shown(None, "OFFERED", THEIRS) == [THEIRS]


def test_what_the_node_declared_itself_is_not_said_twice() -> None:
    declared = FAR | {"basis": LinkBasis.DECLARED.value}
    assert shown(declared, "OFFERED", THEIRS) == [THEIRS]
