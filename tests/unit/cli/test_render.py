"""What people see."""

import io
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from rich.console import Console

from gateway.cli import render
from gateway.cli.summary import Bounds, summarise_coverage, summarise_offer, summarise_offers
from gateway.wire.documents import Document
from gateway.wire.times import Interval
from tests.support.canned_broker import offer_document

NOW = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)


def shown(offerset: Document) -> str:
    stream = io.StringIO()
    render.show_offerset(render.console(stream), offerset, datetime.now(UTC))
    return stream.getvalue()


def offerset_of(*nodes: str) -> Document:
    offers = [
        offer_document("http://gateway", uuid4(), node, rank)
        for rank, node in enumerate(nodes, start=1)
    ]
    coverage: list[Document] = [
        {"node": "alpha", "outcome": "answered", "took_ms": 12.3, "offers": 1},
        {"node": "delta", "outcome": "timeout", "reason": {"code": "slow", "text": "too slow"}},
    ]
    return {
        "meta": {"uuid": str(uuid4())},
        "result": "YES",
        "offers": offers,
        "federation": {"coverage": coverage},
    }


def test_an_offer_set_shows_rank_node_costs_score_reasons_and_what_to_accept() -> None:
    offerset = offerset_of("alpha", "beta")
    text = shown(offerset)
    for expected in ("alpha", "beta", "0.3-0.8", "0.900", "starts in 5 s", "30 min", "2-4"):
        assert expected in text
    for offer in offerset["offers"]:
        assert offer["meta"]["uuid"] in text
    assert text.index("alpha") < text.index("beta")


def test_coverage_shows_who_did_not_answer_and_why() -> None:
    (line,) = [line for line in shown(offerset_of("alpha")).splitlines() if "delta" in line]
    assert "timeout" in line
    assert "too slow" in line


def test_a_plain_node_broker_without_federation_members_is_shown_too() -> None:
    offerset = offerset_of("alpha", "beta")
    del offerset["federation"]
    for offer in offerset["offers"]:
        del offer["federation"]
    text = shown(offerset)
    assert "Who was asked" not in text
    assert "0.05-0.15" in text
    assert [summary.rank for summary in summarise_offers(offerset)] == [None, None]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"offers": None, "result": "NO"},
        {"offers": ["text", {"meta": "text", "federation": [], "costs": [1, {"type": 3}]}]},
        {
            "offers": [
                {
                    "expires": "soon",
                    "schedule": {"available": {"start": "soon", "duration": "long"}},
                }
            ]
        },
        {"offers": [{"compute": {"cores": {"min": "2"}, "memory": {"max": True}}}]},
        {"federation": {"coverage": [{}, None]}, "meta": {"messages": [{}, "text"]}},
    ],
)
def test_a_broken_document_is_shown_as_far_as_it_goes(document: Document) -> None:
    assert "Offer set" in shown(document)


def test_text_of_a_broker_can_neither_steer_the_terminal_nor_be_taken_for_markup() -> None:
    offerset = offerset_of("alpha")
    offerset["offers"][0]["federation"]["reasons"] = ["\x1b[2Jgone [bold]loud[/bold] :smile:"]
    offerset["meta"]["messages"] = [{"message": "\x1b]0;title\x07"}]
    text = shown(offerset)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]loud[/bold] :smile:" in text


def test_reasons_may_be_texts_or_objects_with_code_and_text() -> None:
    document = {"federation": {"reasons": ["plain", {"code": "c", "text": "said"}, {"code": "c"}]}}
    assert summarise_offer(document).reasons == ("plain", "said", "c")
    entry = {"node": "a", "outcome": "no", "reason": [{"text": "one"}, "two"]}
    (coverage,) = summarise_coverage({"federation": {"coverage": [entry]}})
    assert coverage.reason == "one; two"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.4, "0 s"), (45, "45 s"), (600, "10 min"), (7500, "2 h 5 min")],
)
def test_durations_are_said_in_their_two_largest_units(seconds: float, text: str) -> None:
    assert render.human_duration(timedelta(seconds=seconds)) == text


def test_a_long_duration_leaves_out_the_small_units() -> None:
    assert render.human_duration(timedelta(days=3, hours=4, minutes=5)) == "3 d 4 h"


@pytest.mark.parametrize(
    ("away_s", "text"),
    [
        (0, "now"),
        (12, "in 12 s"),
        (-12, "12 s ago"),
        (3 * 3600, "2026-08-03 12:00:00Z"),
    ],
)
def test_moments_are_relative_when_they_are_near(away_s: int, text: str) -> None:
    assert render.human_moment(NOW + timedelta(seconds=away_s), NOW) == text


@pytest.mark.parametrize(
    ("first_s", "last_s", "text"),
    [
        (30, 30, "in 30 s"),
        (30, 90, "in 30 s, or later"),
        (-10, 60, "now, or later"),
        (-60, -60, "1 min ago"),
    ],
)
def test_a_start_may_be_an_interval(first_s: int, last_s: int, text: str) -> None:
    start = Interval(NOW + timedelta(seconds=first_s), NOW + timedelta(seconds=last_s))
    assert render.human_start(start, NOW) == text


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        (None, "-"),
        (Bounds(2, 2), "2"),
        (Bounds(2, 4), "2-4"),
        (Bounds(2, None), "2 or more"),
        (Bounds(None, 0.5), "up to 0.5"),
    ],
)
def test_bounds_may_be_open(bounds: Bounds | None, text: str) -> None:
    assert render.human_bounds(bounds) == text


def test_without_a_terminal_every_new_phase_is_a_line() -> None:
    stream = io.StringIO()
    with render.PhaseProgress(render.console(stream)) as progress:
        for phase in ("ACCEPTED", "PREPARING", "PREPARING", "COMPLETED"):
            progress.show({"phase": phase})
    lines = stream.getvalue().splitlines()
    assert [line.split()[-1] for line in lines] == ["ACCEPTED", "PREPARING", "COMPLETED"]
    assert "########" in lines[-1]


def test_a_session_that_fails_shows_its_messages() -> None:
    stream = io.StringIO()
    with render.PhaseProgress(render.console(stream)) as progress:
        progress.show({"phase": "FAILED", "meta": {"messages": [{"message": "image not found"}]}})
    assert "image not found" in stream.getvalue()


def test_on_a_terminal_the_phases_move_a_bar() -> None:
    stream = io.StringIO()
    terminal = Console(file=stream, force_terminal=True, width=100, markup=False)
    with render.PhaseProgress(terminal) as progress:
        progress.show({"phase": "RUNNING"})
        progress.show({"phase": "COMPLETED"})
    assert "COMPLETED" in stream.getvalue()
    assert "8/8" in stream.getvalue()


def test_nodes_are_shown_with_what_is_known_of_them() -> None:
    stream = io.StringIO()
    nodes: list[Document] = [
        {
            "name": "alpha",
            "url": "http://alpha.example.org",
            "site": "uk",
            "last": {"outcome": "timeout", "reason": "slow", "seen": "2026-08-03T08:59:50Z"},
            "latency_ms": {"p50": 12, "p95": 30},
        },
        {"name": "beta", "is_enabled": False},
        {"last": [], "latency_ms": 12},
    ]
    render.console(stream).print(render.nodes_table(nodes, NOW))
    lines = stream.getvalue().splitlines()
    (alpha,) = [line for line in lines if "alpha" in line]
    for expected in ("uk", "yes", "timeout: slow", "10 s ago", "12 ms, 30 ms"):
        assert expected in alpha
    (beta,) = [line for line in lines if "beta" in line]
    assert "no" in beta


def test_connectors_of_a_session_are_shown() -> None:
    stream = io.StringIO()
    session: Document = offer_document("http://gateway", uuid4(), "alpha", 1)
    session["connectors"] = [
        {"status": "AVAILABLE", "protocol": "HTTP", "location": "https://x.example.org/app"}
    ]
    render.show_session(render.console(stream), session, NOW)
    assert "AVAILABLE HTTP https://x.example.org/app" in stream.getvalue()
