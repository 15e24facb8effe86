"""Explanations: who passed what, what everything was worth, and what another policy would do."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace

from gateway.domain.clauses import clause_table
from gateway.domain.explaining import compare, explain
from gateway.domain.judging import judge
from gateway.domain.policies import POLICIES
from gateway.domain.quantities import Candidate, Quantity, measure
from gateway.domain.reasons import ReasonCode, reason
from gateway.domain.record import RankingRecord, Rejected, record_from_json, replay
from gateway.wire.documents import Document, from_json, to_json
from gateway.wire.kinds import BYTES_TO_MOVE, MONETARY_COST, STAGING_TIME
from gateway.wire.views import Bounds, Quote, RequestView, SessionView
from tests.unit.domain.builders import NOW, OFFER, candidate_sets, policies, uuid
from tests.unit.domain.maps import TB, found, holding, part, placed

PLACEMENTS = placed(found(holding(part(TB, "uk"))))

REQUEST = RequestView(
    cores=Bounds(4, None),
    memory_gib=Bounds(2, 64),
    duration=timedelta(minutes=10),
    cost_limits=(Quote(MONETARY_COST, None, 1.0),),
    metric_limits=(Quote(STAGING_TIME, None, 600.0), Quote(BYTES_TO_MOVE, None, 2.0 * TB)),
)


def offer(number: int, **changes: Any) -> SessionView:
    """An offer that is fine but for the changes."""
    return replace(OFFER, uuid=uuid(number), **changes)


def recorded(offers: dict[str, list[SessionView]], request: RequestView = REQUEST) -> RankingRecord:
    """The record of judging and measuring these offers of nodes named for their sites."""
    candidates: list[Candidate] = []
    rejected: list[Rejected] = []
    for node, views in offers.items():
        placement = PLACEMENTS[node]
        for view in views:
            judgement = judge(view, request, NOW, placement=placement)
            if judgement.is_kept:
                candidates.append(
                    measure(
                        view,
                        request,
                        NOW,
                        node=node,
                        placement=placement.to_ranking(),
                        notes=judgement.notes,
                    )
                )
            else:
                rejected.append(Rejected(node, view.uuid, judgement.drops, judgement.notes))
    return RankingRecord(
        NOW, POLICIES["balanced"], 2, 10, tuple(candidates), tuple(rejected), placements=PLACEMENTS
    )


CHEAP = (Quote(MONETARY_COST, 0.1, 0.5),)
RECORD = recorded(
    {
        "uk": [offer(1, costs=CHEAP), offer(2, costs=CHEAP, cores=Bounds(2, 2)), offer(3)],
        "se": [offer(4, costs=CHEAP)],
    }
)


def row(table: list[Document], clause: str) -> Document:
    """The line of one clause."""
    return next(line for line in table if line["clause"] == clause)


def counts(line: Document) -> tuple[int, int, int]:
    """Passed, failed, unsure."""
    return line["passed"], line["failed"], line["unsure"]


def test_the_table_says_for_each_clause_how_many_offers_pass() -> None:
    table = clause_table(REQUEST, RECORD)
    assert [line["clause"] for line in table] == [
        "readable",
        "hold",
        "cores",
        "memory",
        "duration",
        "cost monetary",
        "metric staging-time",
        "metric bytes-to-move",
    ]
    assert counts(row(table, "readable")) == (4, 0, 0)
    assert counts(row(table, "cores")) == (3, 1, 0)
    assert counts(row(table, "cost monetary")) == (3, 0, 1)
    staging = row(table, "metric staging-time")
    assert counts(staging) == (3, 1, 0)
    assert staging["wanted"] == "at most 600"
    assert staging["nodes"] == [
        {"node": "se", "passed": 0, "failed": 1, "unsure": 0},
        {"node": "uk", "passed": 3, "failed": 0, "unsure": 0},
    ]


def test_of_an_offer_that_cannot_be_read_nothing_else_is_said() -> None:
    unreadable = Rejected("uk", None, (reason(ReasonCode.INVALID_OFFER, detail="x"),))
    record = RankingRecord(NOW, POLICIES["balanced"], 2, 10, rejected=(unreadable,))
    table = clause_table(REQUEST, record)
    assert counts(row(table, "readable")) == (0, 1, 0)
    assert counts(row(table, "cores")) == (0, 0, 0)


def test_an_explanation_has_every_offer_with_quantities_weights_and_reasons() -> None:
    document = explained(RECORD)
    assert [one["node"] for one in document["candidates"]] == ["uk", "uk"]
    first = document["candidates"][0]
    assert first["rank"] == 1
    begin = next(q for q in first["quantities"] if q["quantity"] == "begin")
    assert begin["unit"] == "s"
    assert begin["counted"] == 60
    assert begin["weight"] == 40
    assert 0 < begin["utility"] < 1
    assert {one["node"] for one in document["rejected"]} == {"uk", "se"}
    said = {why["code"] for one in document["rejected"] for why in one["reasons"]}
    assert said == {"below_minimum_cores", "above_metric_limit"}
    weights = {q["quantity"]: q["weight"] for q in document["policy"]["quantities"]}
    assert set(weights) == {quantity.value for quantity in Quantity}
    assert weights["begin"] == 40


def test_an_offer_that_was_ranked_and_not_kept_says_why() -> None:
    record = recorded({"uk": [offer(n, costs=CHEAP) for n in range(1, 5)]})
    dropped = [one["dropped"] for one in explained(record)["candidates"]]
    assert dropped[:2] == [None, None]
    assert {why["code"] for why in dropped[2:]} == {"over_per_node"}


def explained(record: RankingRecord, *, shows_sources: bool = False) -> Document:
    """The explanation as it would be sent."""
    document = explain(
        replay(record),
        REQUEST,
        offerset=uuid(99),
        coverage=[],
        shows_sources=shows_sources,
    )
    read: Document = from_json(to_json(document))
    return read


def test_where_data_would_come_from_is_for_those_who_may_know() -> None:
    shown = explained(RECORD, shows_sources=True)
    by_node = {one["node"]: one for one in shown["placements"]}
    assert by_node["se"]["sources"] == [{"place": "uk", "bytes": TB}]
    assert "sources" not in explained(RECORD)["placements"][0]


def test_another_policy_is_compared_with_the_order_that_was_given_out() -> None:
    near = offer(1, costs=(Quote(MONETARY_COST, 0.9, 0.9),))
    cheap = offer(2, costs=(Quote(MONETARY_COST, 0.0, 0.0),))
    free = RequestView()
    record = recorded({"uk": [near], "ca": [cheap]}, free)
    then = replay(record)
    document = compare(then, replay(record, POLICIES["cheapest"]), offerset=uuid(9))
    assert document["was"] == "balanced"
    assert document["policy"]["name"] == "cheapest"
    assert [(one["node"], one["rank"]) for one in document["candidates"]] == [("ca", 1), ("uk", 2)]
    assert [one["was_rank"] for one in document["candidates"]] == [2, 1]
    assert not document["is_same"]


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_the_same_policy_again_gives_the_same_order(name: str) -> None:
    record = recorded({"uk": [offer(1, costs=CHEAP)], "ca": [offer(2, costs=CHEAP)]}, RequestView())
    saved = record.to_json()
    again = record_from_json(saved)
    policy = POLICIES[name]
    document = compare(replay(record, policy), replay(again, policy), offerset=uuid(9))
    assert document["is_same"]


@given(candidate_sets, policies)
def test_a_saved_record_explains_itself_bit_for_bit(
    candidates: list[Candidate], policy: Any
) -> None:
    record = RankingRecord(NOW, policy, 2, 5, tuple(candidates), placements=PLACEMENTS)
    again = record_from_json(record.to_json())
    assert to_json(explained(again)) == to_json(explained(record))
