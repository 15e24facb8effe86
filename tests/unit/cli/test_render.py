"""What people see."""

import io
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from rich.console import Console

from gateway.cli import render
from gateway.cli.progress import PhaseProgress
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


PLACED: Document = {
    "bytes_to_move": 2_550_000_000_000,
    "staging_s": 2070.4,
    "proximity": 0.634859,
    "basis": "geography",
    "approximate": False,
    "unlocated": 0,
}


def placed_offers(*changes: Document) -> str:
    """The table of offers that differ in what their data mean, as a terminal of 120 shows it."""
    offerset = offerset_of(*["alpha"] * len(changes))
    for offer, change in zip(offerset["offers"], changes, strict=True):
        offer["federation"]["placement"] = PLACED | change
    out = io.StringIO()
    to = Console(file=out, width=120, markup=False)
    to.print(render.offers_table(summarise_offers(offerset), datetime.now(UTC)))
    return out.getvalue()


def rows_of(table: str) -> list[str]:
    """The first line of each row: a time that is a second off may need another one."""
    return [line for line in table.splitlines() if line[:1].isdigit()]


def test_offers_show_what_has_to_be_moved_for_how_long_and_how_that_is_known() -> None:
    text = placed_offers({}, {"bytes_to_move": 0, "staging_s": 0.0, "proximity": 1.0})
    far, near = rows_of(text)
    for expected in ("2.5 TB", "34 min 30 s", "0.635", "geography", "0.3-0.8", "2-8", "0.900"):
        assert expected in far
    for expected in ("0 B", "0 s", "1.000"):
        assert expected in near


def test_what_all_offers_have_in_common_is_said_once() -> None:
    both = placed_offers({}, {"staging_s": 1.0})
    assert "all last 30 min, 2-4 cores, 2 GiB, expire in " in both
    assert "lasts" not in both
    alone = placed_offers({})
    assert "all" not in alone
    assert "30 min" in alone


def test_staging_that_nobody_knows_is_unknown_and_never_nothing() -> None:
    nothing: Document = dict.fromkeys(("bytes_to_move", "staging_s", "proximity"))
    (line,) = rows_of(placed_offers({**nothing, "basis": "unknown"}))
    assert line.count("unknown") == 4
    assert "0 B" not in line


def test_staging_that_is_known_in_part_or_roughly_is_marked() -> None:
    partly, roughly = rows_of(placed_offers({"unlocated": 1}, {"approximate": True}))
    assert ">2.5 TB" in partly
    assert ">34 min 30 s" in partly
    assert " 2.5 TB" in roughly
    assert "~34 min 30 s" in roughly


def test_a_table_with_placement_fits_a_terminal_of_120_columns() -> None:
    lines = placed_offers({}, {"staging_s": 45.0}).splitlines()
    assert max(map(len, lines)) <= 120
    assert not any("…" in line for line in lines)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "-"), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (55_255, "55.3 kB"),
        (2_102_400, "2.1 MB"), (2.55e12, "2.5 TB"), (1e19, "10000.0 PB"),
    ],
)  # fmt: skip
def test_amounts_of_bytes_are_in_powers_of_a_thousand(size: float | None, text: str) -> None:
    assert render.human_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (90.0, "1 min 30 s"), (1e300, "1e+300 s")]
)
def test_seconds_of_any_size_are_a_duration(seconds: float, text: str) -> None:
    assert render.human_seconds(seconds) == text


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
    with PhaseProgress(render.console(stream)) as progress:
        for phase in ("ACCEPTED", "PREPARING", "PREPARING", "COMPLETED"):
            progress.show({"phase": phase})
    lines = stream.getvalue().splitlines()
    assert [line.split()[-1] for line in lines] == ["ACCEPTED", "PREPARING", "COMPLETED"]
    assert "########" in lines[-1]


def test_a_session_that_fails_shows_its_messages() -> None:
    stream = io.StringIO()
    with PhaseProgress(render.console(stream)) as progress:
        progress.show({"phase": "FAILED", "meta": {"messages": [{"message": "image not found"}]}})
    assert "image not found" in stream.getvalue()


def test_on_a_terminal_the_phases_move_a_bar() -> None:
    stream = io.StringIO()
    terminal = Console(file=stream, force_terminal=True, width=100, markup=False)
    with PhaseProgress(terminal) as progress:
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
