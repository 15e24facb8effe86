"""What a node refuses of schedules, kinds and limits: one request for each rule."""

import pytest

from gateway.wire import kinds
from tests.support.node_requests import COST, FULL, METRIC, changed
from tests.support.refusals import Row, assert_refused, parameters, row

REFUSALS: list[Row] = [
    # The request as a whole.
    row("no executable", {}, "urn:executable-required", "/executable"),
    row("null executable", {"executable": None}, "urn:executable-required", "/executable"),
    row(
        "duration in years",
        changed(FULL, schedule__requested__duration="P1Y"),
        "urn:input-syntax-fail",
        "/schedule/requested/duration",
        "P1Y",
    ),
    row(
        "interval in nonsense",
        changed(FULL, schedule__requested__start="2026-02-30T09:05:00Z/PT30M"),
        "urn:input-syntax-fail",
        "/schedule/requested/start",
        "2026-02-30T09:05:00Z/PT30M",
    ),
    row(
        "one interval of a list in nonsense",
        changed(FULL, schedule__requested__start=["2026-08-03T09:05:00Z/PT30M", "soon"]),
        "urn:input-syntax-fail",
        "/schedule/requested/start/1",
        "soon",
    ),
    row(
        "daily window in no zone",
        changed(
            FULL,
            schedule__requested__daily={
                "start": "09:00",
                "end": "17:00",
                "timezone": "Mars/Olympus",
            },
        ),
        "urn:input-syntax-fail",
        "/schedule/requested/daily",
        "Mars/Olympus",
    ),
    row(
        "daily window shorter than the run",
        changed(
            FULL,
            schedule__requested__daily={"start": "09:00", "end": "09:05", "timezone": "UTC"},
        ),
        "urn:start-time",
        "/schedule/requested/daily",
    ),
    row(
        "duration of nothing",
        changed(FULL, schedule__requested__duration="PT0S"),
        "urn:invalid-value",
        "/schedule/requested/duration",
        "PT0S",
    ),
    row(
        "negative duration",
        changed(FULL, schedule__requested__duration="-PT5M"),
        "urn:invalid-value",
        "/schedule/requested/duration",
        "-PT5M",
    ),
    row(
        "duration above the longest",
        changed(FULL, schedule__requested__duration="P2D"),
        "urn:resource-limit",
        "/schedule/requested/duration",
        "P2D",
        "PT12H",
    ),
    row(
        "start in the past",
        changed(FULL, schedule__requested__start="2026-08-03T08:00:00Z/PT30M"),
        "urn:start-time",
        "/schedule/requested/start",
        "2026-08-03T08:00:00Z/2026-08-03T08:30:00Z",
    ),
    row(
        "start before preparing can end",
        changed(FULL, schedule__requested__start="2026-08-03T09:00:00Z/PT31S"),
        "urn:start-time",
        "/schedule/requested/start",
        "2026-08-03T09:00:32Z",
    ),
    row(
        "start centuries ahead",
        changed(FULL, schedule__requested__start="2626-08-03T09:00:00Z/PT1H"),
        "urn:start-time",
        "/schedule/requested/start",
        "2626-08-03T09:00:00Z",
    ),
    row(
        "start between two seconds",
        changed(FULL, schedule__requested__start="2026-08-03T10:00:00.5Z"),
        "urn:start-time",
        "/schedule/requested/start",
    ),
    row(
        "a hundred and one starts",
        changed(FULL, schedule__requested__start=["2026-08-03T09:05:00Z/PT30M"] * 101),
        "urn:resource-limit",
        "/schedule/requested/start",
        101,
    ),
    # Kinds nobody knows.
    row(
        "unknown executable",
        changed(FULL, executable={"kind": "urn:x:wasm", "meta": {"name": "it"}}),
        "urn:unknown-type",
        "/executable",
        "urn:x:wasm",
        "it",
    ),
    row(
        "unknown compute",
        changed(FULL, compute={"kind": "urn:x:gpu"}),
        "urn:unknown-type",
        "/compute",
        "urn:x:gpu",
    ),
    row(
        "unknown storage",
        changed(FULL, storage__0__kind="urn:x:tape"),
        "urn:unknown-type",
        "/storage/0",
        "urn:x:tape",
        "scratch",
    ),
    row(
        "unknown data",
        changed(FULL, data__0__kind="urn:x:data"),
        "urn:unknown-type",
        "/data/0",
        "urn:x:data",
        "obs",
    ),
    row(
        "unknown volume",
        changed(FULL, compute__volumes__1__kind="urn:x:volume"),
        "urn:unknown-type",
        "/compute/volumes/1",
        "urn:x:volume",
    ),
    row(
        "unknown cost",
        changed(FULL, costs__0__kind="urn:x:cost"),
        "urn:unknown-type",
        "/costs/0",
        "urn:x:cost",
    ),
    row(
        "unknown metric of compute",
        changed(FULL, compute__metrics=[{"kind": "urn:x:metric"}]),
        "urn:unknown-type",
        "/compute/metrics/0",
        "urn:x:metric",
    ),
    row(
        "abstract cost",
        changed(FULL, costs__0__kind=kinds.ABSTRACT_COST),
        "urn:unknown-type",
        "/costs/0",
        kinds.ABSTRACT_COST,
    ),
    # Limits on costs and metrics.
    row(
        "cost limit below the least cost",
        changed(FULL, costs=[COST | {"max": 0.09}]),
        "urn:cost-limit",
        "/costs/0/max",
        0.1,
        0.09,
    ),
    row(
        "cost limit below the least cost of compute",
        changed(FULL, compute__costs=[COST | {"max": 0.04}]),
        "urn:cost-limit",
        "/compute/costs/0/max",
        0.05,
        0.04,
    ),
    row(
        "metric above the most there is",
        changed(FULL, metrics=[METRIC | {"min": 201}]),
        "urn:metric-limit",
        "/metrics/0/min",
        200.0,
        201,
    ),
    row(
        "metric that only compute reports",
        changed(FULL, metrics=[METRIC | {"type": kinds.IO_THROUGHPUT, "min": 501}]),
        "urn:metric-limit",
        "/metrics/0/min",
        500.0,
        501,
    ),
    row(
        "metric of compute that only the session reports",
        changed(FULL, compute__metrics=[METRIC | {"min": 201}]),
        "urn:metric-limit",
        "/compute/metrics/0/min",
        200.0,
        201,
    ),
    row(
        "metric below the least there is",
        changed(FULL, metrics=[METRIC | {"max": 149}]),
        "urn:metric-limit",
        "/metrics/0/max",
        150.0,
        149,
    ),
    row(
        "cost limit in the wrong order",
        changed(FULL, costs=[COST | {"min": 2, "max": 1}]),
        "urn:invalid-value",
        "/costs/0",
        2,
        1,
    ),
]


@pytest.mark.parametrize("case", parameters(REFUSALS))
def test_what_cannot_be_met_is_refused_with_a_complete_reason(case: Row) -> None:
    assert_refused(case)
