"""Explanations as people read them: made of what a gateway says, and of nothing it does not."""

import io
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli import render
from gateway.cli.explaining import nearest_lines, show_explanation, show_replay
from gateway.cli.ranking_summary import (
    advantages,
    incomparable,
    moved_by,
    summarise_explanation,
    summarise_replay,
)
from gateway.domain.record import RankingRecord
from gateway.wire.documents import Document
from tests.unit.cli.explanations import explanation, ranking, record


def shown(document: Document) -> str:
    out = io.StringIO()
    show_explanation(render.console(out), summarise_explanation(document))
    return out.getvalue()


def shown_replay(explained: Document, replayed: Document) -> str:
    out = io.StringIO()
    show_replay(render.console(out), summarise_explanation(explained), summarise_replay(replayed))
    return out.getvalue()


def row(text: str, *cells: str) -> list[str]:
    """The one line that begins with these cells, cut where columns are."""
    lines = [re.split(r" {2,}", line.strip()) for line in text.splitlines()]
    (found,) = [line for line in lines if line[: len(cells)] == list(cells)]
    return found


def test_every_clause_says_how_many_pass_and_who_does_not() -> None:
    text = shown(explanation())
    assert row(text, "metric staging-time", "at most 600") == [
        "metric staging-time", "at most 600", "3", "0", "1", "2 of 3", "au (1 of 1)",
    ]  # fmt: skip
    assert row(text, "cores", "at least 4")[2:] == ["4", "0", "0", "3 of 3", "-"]


def test_the_first_clause_is_to_make_an_offer() -> None:
    assert row(shown(explanation()), "offer")[2:] == ["4", "0", "0", "3 of 4", "za (timeout)"]


def test_where_nobody_made_an_offer_nothing_else_is_counted() -> None:
    nobody = replace(record(), candidates=(), rejected=())
    text = shown(explanation(nobody))
    assert row(text, "offer")[2] == "0"
    for absent in ("cores", "What the policy", "What each score"):
        assert absent not in text


def test_a_clause_that_nobody_can_be_sure_of_says_of_whom() -> None:
    document = explanation()
    document["clauses"] = [
        {
            "clause": "duration",
            "wanted": "PT1H",
            "passed": 1,
            "unsure": 2,
            "failed": 0,
            "nodes": [
                {"node": "uk", "passed": 1, "failed": 0, "unsure": 0},
                {"node": "ca", "passed": 0, "failed": 0, "unsure": 2},
            ],
        }
    ]
    assert row(shown(document), "duration")[2:] == ["1", "2", "0", "1 of 2", "ca? (2 of 2)"]


def test_offers_beyond_the_size_of_the_answer_fail_a_clause_too() -> None:
    text = shown(explanation(record(limit=2)))
    assert row(text, "limit", "at most 2 in all")[2:] == ["2", "0", "1", "2 of 2", "ca (1 of 2)"]
    assert row(text, "per node", "at most 2 of a node")[2:] == ["3", "0", "0", "2 of 2", "-"]


def test_the_policy_says_what_is_known_of_whom_and_who_is_best() -> None:
    text = shown(explanation())
    assert "What the policy balanced counts" in text
    assert row(text, "carbon")[1:] == ["10", "20 g CO2", "3", "0", "0", "-", "1 g CO2", "ca"]
    assert row(text, "performance")[3:] == ["0", "0", "3", "ca, uk", "-", "-"]
    assert not re.search(r"^staging +0 ", text, re.MULTILINE)  # it has no weight


def test_the_parts_of_a_score_add_up_to_it() -> None:
    found = summarise_explanation(explanation())
    for one in found.candidates:
        assert sum(one.parts(found.policy.weights).values()) == pytest.approx(one.score, abs=1e-5)


def test_what_is_not_measured_is_marked() -> None:
    line = row(shown(explanation()), "1", "uk")
    assert [cell.endswith("?") for cell in line[3:7]] == [False, False, False, True]


def test_data_are_shown_as_seen_from_each_node_and_their_sources_to_who_may_see_them() -> None:
    text = shown(explanation())
    assert row(text, "uk", "1.0 TB", "1.0 TB", "0 B")[4:7] == ["0 s", "1.000", "measured"]
    assert row(text, "ca", "1.0 TB", "0 B", "1.0 TB")[6] == "geography"
    assert "uk 1.0 TB" not in text
    assert row(shown(explanation(shows_sources=True)), "ca", "1.0 TB")[-1] == "uk 1.0 TB"


def test_what_is_not_known_of_the_data_is_never_zero() -> None:
    document = explanation()
    for one in document["placements"]:
        one |= {"bytes_total": None, "bytes_local": None, "bytes_to_move": None, "staging_s": None}
        one |= {"proximity": None, "basis": "unknown"}
    assert row(shown(document), "uk", "unknown")[1:7] == ["unknown"] * 6


def test_what_does_not_fit_is_shown_with_the_reason() -> None:
    text = shown(explanation())
    assert "more than the limit 600" in text.partition("Offers that do not meet")[2]


def test_offers_of_a_node_that_lack_the_same_are_shown_together() -> None:
    document = explanation()
    document["rejected"] *= 3
    assert row(shown(document), "au", "3")[2].endswith("more than the limit 600.")


def lines_of(saved: RankingRecord) -> list[str]:
    return nearest_lines(summarise_explanation(explanation(saved)))


def test_the_nearest_that_wins_says_by_how_much_and_whether_being_near_decides() -> None:
    (line,) = lines_of(record())
    assert line.startswith("The nearest wins: uk (staging 0 s) is 0.")
    assert "ahead of ca (staging " in line
    assert "monetary +0." in line
    assert line.endswith(("Beginning sooner decides.", "Beginning sooner alone would not decide."))


def test_the_nearest_that_does_not_win_says_what_is_against_it() -> None:
    (line,) = lines_of(record(near_price=900_000_000))
    assert line.startswith("The nearest does not win: uk (staging 0 s) is 0.")
    assert "behind ca (staging " in line
    assert "monetary +0." in line
    assert "Beginning sooner gives it 0." in line


@pytest.mark.parametrize("kept", ["uk", "ca"])
def test_where_all_are_alike_nobody_is_nearest(kept: str) -> None:
    saved = record()
    alone = tuple(one for one in saved.candidates if one.node == kept)
    assert lines_of(replace(saved, candidates=alone)) == []


def test_advantages_add_up_to_the_lead() -> None:
    found = summarise_explanation(explanation())
    first, second, _ = found.candidates
    lead, parts = advantages(found.policy.weights, first, second)
    assert lead == pytest.approx(sum(part.change for part in parts), abs=1e-5)
    sizes = [abs(part.change) for part in parts]
    assert sizes == sorted(sizes, reverse=True)


def test_a_replay_says_who_moves_and_what_moves_it() -> None:
    text = shown_replay(explanation(), ranking("greenest"))
    assert "greenest instead of balanced: the order changes" in text
    assert row(text, "1", "2", "up", "ca")[-1].startswith("carbon +0.")
    assert row(text, "3", "1", "down", "uk")[-1].startswith("carbon -0.")


def test_a_replay_that_changes_nothing_says_so() -> None:
    text = shown_replay(explanation(), ranking("balanced"))
    assert "the order stays as it is" in text
    assert row(text, "1", "1", "=", "uk")[-1] == "nothing"


def test_what_moves_offers_adds_up_to_how_their_scores_part() -> None:
    explained, replayed = explanation(), ranking("greenest")
    moved = moved_by(summarise_explanation(explained), summarise_replay(replayed))
    before = {one["offer"]: one["score"] for one in explained["candidates"]}
    change = {one["offer"]: one["score"] - before[one["offer"]] for one in replayed["candidates"]}
    mean = sum(change.values()) / len(change)
    for offer, parts in moved.items():
        total = sum(part.change for part in parts)
        assert total == pytest.approx(change[offer] - mean, abs=1e-5)


def test_an_offer_that_would_not_be_handed_out_has_no_rank() -> None:
    replayed = ranking("greenest", replace(record(), limit=1))
    text = shown_replay(explanation(), replayed)
    assert row(text, "-", "-", "=", "ca")


def test_a_quantity_held_against_other_values_is_left_out_and_named() -> None:
    explained = explanation()
    replayed = ranking("mine", weights={"carbon": 1}, references={"carbon": 5})
    found = summarise_explanation(explained), summarise_replay(replayed)
    assert incomparable(found[0].policy, found[1].policy) == ["carbon"]
    assert "carbon is held against other values" in shown_replay(explained, replayed)
    for parts in moved_by(*found).values():
        assert "carbon" not in {part.quantity for part in parts}


def test_text_of_a_broker_cannot_steer_the_terminal() -> None:
    document = explanation()
    document["clauses"][0] |= {"clause": "\x1b[2Jgone", "wanted": "[bold]loud[/bold]"}
    document["candidates"][0]["node"] = "\x07bell"
    text = shown(document)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]loud[/bold]" in text


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=4), below),
    max_leaves=8,
)
_members = st.sampled_from(
    [
        "policy", "clauses", "candidates", "placements", "placement", "rejected", "nodes", "node",
        "quantities", "quantity", "was", "weight", "utility", "basis", "value", "staging_s",
        "age_s", "per_node", "rank",
    ]
)  # fmt: skip
_rows = st.lists(st.dictionaries(_members, _json), max_size=3)
_objects = st.dictionaries(_members, _json | _rows)


@given(_objects, _objects)
def test_documents_of_any_form_are_shown_as_far_as_they_go(one: Document, other: Document) -> None:
    assert "Who passes what" in shown(one)
    assert "Offer set" in shown_replay(one, other)
