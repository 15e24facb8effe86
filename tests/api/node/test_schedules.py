"""When offers start and what they hold: by the second, by the day, by what is asked."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.wire.documents import Document
from gateway.wire.kinds import MINMAX_COST, MINMAX_METRIC, SIMPLE_COMPUTE
from gateway.wire.times import (
    Interval,
    format_instant,
    parse_duration,
    parse_instant,
    parse_interval,
)
from node_stub.clock import SystemClock
from node_stub.config import FigureSettings, OfferSettings
from node_stub.fitting import Fit
from node_stub.platforms.simulated import SimulatedSettings
from node_stub.rules import Figure
from tests.support.node import Answer, NodeClient, node_settings, running_node
from tests.support.node_requests import MINIMAL

NOW: Final = datetime(2026, 8, 3, 9, 0, 17, tzinfo=UTC)
SLOW: Final = SimulatedSettings(prepare_s=60, run_s=1, release_s=0)


class StoppedClock(SystemClock):
    """Stands still until it is put forward."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> None:
        self._now += by


def request(
    cores: Document | None = None, memory: Document | None = None, **requested: Any
) -> Document:
    """A request for this, its schedule as said."""
    compute = {"kind": SIMPLE_COMPUTE, "cores": cores or {"min": 1}, "memory": memory or {"min": 1}}
    return {**MINIMAL, "compute": compute, "schedule": {"requested": requested}}


def runs(answer: Answer) -> list[Interval]:
    """Of each offer, from its first possible start, as long as it is offered."""
    stages = [offer["schedule"]["available"] for offer in answer.document.get("offers", [])]
    return [
        Interval(
            parse_interval(stage["start"]).start,
            parse_interval(stage["start"]).start + parse_duration(stage["duration"]),
        )
        for stage in stages
    ]


def at(hours: float = 0, seconds: float = 0) -> datetime:
    return NOW + timedelta(hours=hours, seconds=seconds)


async def test_times_are_exact_to_the_second(tmp_path: Path) -> None:
    """Upstream knew whole minutes only, and offered nothing below thirty seconds."""
    async with running_node(tmp_path, clock=StoppedClock()) as node:
        answer = await node.ask(request(cores={"min": 8, "max": 8}, duration="PT7S"))

    assert runs(answer) == [
        Interval(at(0), at(seconds=7)),
        Interval(at(seconds=308), at(seconds=315)),
    ]


async def test_a_lone_instant_is_offered_exactly(tmp_path: Path) -> None:
    start = at(1, 11)
    async with running_node(tmp_path, clock=StoppedClock()) as node:
        answer = await node.ask(request(duration="PT13S", start=format_instant(start)))

    assert runs(answer)[0] == Interval(start, start + timedelta(seconds=13))
    assert len(runs(answer)) == 1
    stage = answer.document["offers"][0]["schedule"]["available"]
    assert stage["start"] == f"{format_instant(start)}/PT0S"


async def test_the_best_of_several_intervals_is_offered_first(tmp_path: Path) -> None:
    starts = [f"{format_instant(at(5))}/PT10M", f"{format_instant(at(2))}/PT10M"]
    settings = node_settings(offers=OfferSettings(count=3))
    async with running_node(tmp_path, settings, clock=StoppedClock()) as node:
        answer = await node.ask(request(duration="PT8M", start=starts))

    assert [run.start for run in runs(answer)] == [at(2), at(2, 480), at(5)]


async def test_a_run_lies_within_the_daily_window_of_its_zone(tmp_path: Path) -> None:
    """In London it is ten o'clock at nine UTC in August: the day ends at 16:00 UTC."""
    daily = {"start": "09:00", "end": "17:00", "timezone": "Europe/London"}
    start = f"{format_instant(at(5))}/P3D"
    settings = node_settings(offers=OfferSettings(count=2, max_duration_s=8 * 3600))
    async with running_node(tmp_path, settings, clock=StoppedClock()) as node:
        answer = await node.ask(request(duration="PT4H", start=start, daily=daily))

    first, second = runs(answer)
    tomorrow = datetime(2026, 8, 4, 8, 0, tzinfo=UTC)
    assert first == Interval(tomorrow, tomorrow + timedelta(hours=4))
    assert second.start == first.end


async def test_a_daily_window_too_short_for_the_run_is_a_no_that_says_so(node: NodeClient) -> None:
    daily = {"start": "09:00", "end": "09:30", "timezone": "Europe/London"}

    answer = await node.ask(request(duration="PT1H", daily=daily))

    assert answer.document["result"] == "NO"
    (message,) = answer.messages
    assert message["values"]["path"] == "/schedule/requested/daily"


async def test_no_offer_starts_before_its_preparation_can_end(tmp_path: Path) -> None:
    async with running_node(tmp_path, node_settings(platform=SLOW), clock=StoppedClock()) as node:
        answer = await node.ask(request(duration="PT1M", start=f"{format_instant(NOW)}/PT1H"))
        hopeless = await node.ask(request(duration="PT1M", start=f"{format_instant(NOW)}/PT59S"))

    assert runs(answer)[0].start == at(seconds=60)
    assert hopeless.document["result"] == "NO"
    assert [message["kind"] for message in hopeless.messages] == ["urn:start-time"]


@pytest.mark.parametrize("spread", ["PT0S", "PT2M", "PT1H"])
async def test_no_offer_strands_its_client(tmp_path: Path, spread: str) -> None:
    """Accepted at the very last moment, there is still time to prepare before its last start."""
    start = f"{format_instant(at(seconds=90))}/{spread}"
    async with running_node(tmp_path, node_settings(platform=SLOW), clock=StoppedClock()) as node:
        answer = await node.ask(request(duration="PT1M", start=start))

    assert answer.document["offers"]
    for offer in answer.document["offers"]:
        expires = parse_instant(offer["expires"])
        latest = parse_interval(offer["schedule"]["available"]["start"]).end
        assert NOW < expires <= latest - timedelta(seconds=60)


async def test_a_client_in_a_hurry_runs_at_once_and_the_rest_of_the_hold_is_free(
    tmp_path: Path,
) -> None:
    clock = StoppedClock()
    async with running_node(tmp_path, clock=clock) as node:
        whole = request(cores={"min": 8, "max": 8}, duration="PT1M")
        answer = await node.ask(whole)
        offer = answer.document["offers"][0]
        available = parse_interval(offer["schedule"]["available"]["start"])
        assert available == Interval(at(0), at(seconds=300))
        clock.advance(timedelta(seconds=5))

        accepted = await node.update(offer["meta"]["uuid"], "ACCEPTED")

        stages = accepted.document["schedule"]
        assert stages["available"]["start"] == f"{format_instant(at(seconds=5))}/PT0S"
        assert parse_instant(stages["preparing"]["start"]) == at(seconds=5)
        # Its siblings are let go, and of its own hold all that it does not need any more.
        again = await node.ask({**whole, "schedule": {"requested": {"duration": "PT10S"}}})
        assert runs(again)[0].start == at(seconds=66)


async def offered_by(tmp_path: Path, fit: Fit, count: int = 1) -> list[tuple[int, int, int, int]]:
    """First start (minutes from now), cores, memory and minutes of the offers made by this measure.

    For the first hour all but two cores and two GiB are taken.
    """
    settings = node_settings(offers=OfferSettings(count=count, fit=fit, window_s=7200))
    blocked = request({"min": 6, "max": 6}, {"min": 14, "max": 14}, duration="PT1H")
    async with running_node(tmp_path, settings, clock=StoppedClock()) as node:
        await node.direct(blocked)
        answer = await node.ask(request({"min": 2}, {"min": 2}, duration="PT30M"))
    sizes = [
        (offer["compute"]["cores"]["max"], offer["compute"]["memory"]["max"])
        for offer in answer.document["offers"]
    ]
    minute = timedelta(minutes=1)
    return [
        ((run.start - NOW) // minute, cores, memory, run.duration // minute)
        for run, (cores, memory) in zip(runs(answer), sizes, strict=True)
    ]


async def test_the_earliest_is_offered(tmp_path: Path) -> None:
    assert await offered_by(tmp_path, Fit.EARLIEST) == [(0, 2, 2, 30)]


@pytest.mark.parametrize("fit", [Fit.MOST_CORES, Fit.MOST_MEMORY])
async def test_the_largest_is_offered(tmp_path: Path, fit: Fit) -> None:
    assert await offered_by(tmp_path, fit) == [(60, 4, 4, 30)]


async def test_the_longest_is_offered(tmp_path: Path) -> None:
    assert await offered_by(tmp_path, Fit.LONGEST) == [(0, 2, 2, 60)]


async def test_one_of_each_is_offered(tmp_path: Path) -> None:
    earliest, largest, longest = (await offered_by(tmp_path, Fit.MIXED, 4))[:3]

    assert earliest == (0, 2, 2, 30)
    assert largest == (60, 4, 4, 30)
    assert longest[3] == 60


async def test_a_client_may_ask_for_fewer_offers_and_then_less_is_held(tmp_path: Path) -> None:
    settings = node_settings(offers=OfferSettings(count=4))
    async with running_node(tmp_path, settings) as node:
        for limit, expected in (("1", 1), ("3", 3), ("1000", 4)):
            answer = await node.call("POST", "/requests", json=MINIMAL, params={"limit": limit})
            assert len(answer.document["offers"]) == expected
        assert "execbroker_node_ledger_bookings 8.0" in await node.text("/metrics")


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "1001"}, {"limit": "two"}, {"limit": ""}, {"policy": "x"}]
)
async def test_a_query_that_is_wrong_or_unknown_is_400_and_holds_nothing(
    node: NodeClient, query: dict[str, str]
) -> None:
    answer = await node.call("POST", "/requests", json=MINIMAL, params=query)

    (name,) = query
    assert answer.status == 400
    assert [error["pointer"] for error in answer.document["errors"]] == [f"/{name}"]
    assert "execbroker_node_ledger_bookings 0.0" in await node.text("/metrics")


async def test_the_limit_is_documented(node: NodeClient) -> None:
    document = (await node.call("GET", "/openapi.json")).document

    parameters = document["paths"]["/requests"]["post"]["parameters"]
    (limit,) = [item for item in parameters if item["name"] == "limit"]
    assert (limit["in"], limit["schema"]["minimum"], limit["schema"]["maximum"]) == (
        "query",
        1,
        1000,
    )


COST: Final = {"kind": MINMAX_COST, "type": "urn:price"}
METRIC: Final = {"kind": MINMAX_METRIC, "type": "urn:speed"}


@pytest.mark.parametrize(
    ("limits", "path"),
    [
        ({"costs": [{**COST, "max": 0.05}]}, "/costs/0/max"),
        ({"metrics": [{**METRIC, "min": 500.0}]}, "/metrics/0/min"),
        ({"metrics": [{**METRIC, "max": 10.0}]}, "/metrics/0/max"),
        ({"costs": [{**COST, "max": 0.2}], "metrics": [{**METRIC, "min": 150.0}]}, None),
    ],
)
async def test_limits_on_costs_and_metrics_are_honoured(
    tmp_path: Path, limits: Document, path: str | None
) -> None:
    """Upstream ignored them."""
    settings = node_settings(
        costs=FigureSettings(session=(Figure("urn:price", 0.1, 0.5),)),
        metrics=FigureSettings(compute=(Figure("urn:speed", 100.0, 200.0),)),
    )
    async with running_node(tmp_path, settings) as node:
        answer = await node.ask({**MINIMAL, **limits})

    if path is None:
        (offer, _) = answer.document["offers"]
        assert [(item["min"], item["max"]) for item in offer["costs"]] == [(0.1, 0.5)]
        assert [item["max"] for item in offer["compute"]["metrics"]] == [200.0]
    else:
        assert answer.document["result"] == "NO"
        assert [message["values"]["path"] for message in answer.messages] == [path]
