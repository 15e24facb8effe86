"""What owners, strangers and time may do to a session."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.wire.documents import Document
from gateway.wire.times import parse_instant, parse_interval
from node_stub.config import OfferSettings
from node_stub.platforms.simulated import JobStep, SimulatedSettings
from tests.support.node import (
    ADMIN,
    ALICE,
    BOB,
    NOBODY,
    NodeClient,
    ShiftedClock,
    node_settings,
    running_node,
)
from tests.support.node_requests import MINIMAL
from tests.support.waiting import eventually

ENDLESS = SimulatedSettings(prepare_s=0, run_s=0, release_s=0, hang=frozenset({JobStep.RUN}))


@pytest.fixture
async def endless(tmp_path: Path) -> AsyncIterator[NodeClient]:
    """A node whose runs never end by themselves."""
    async with running_node(tmp_path, node_settings(platform=ENDLESS)) as client:
        yield client


async def offered(node: NodeClient) -> list[str]:
    """The sessions of a fresh offer set."""
    answer = await node.ask(MINIMAL)
    return [offer["meta"]["uuid"] for offer in answer.document["offers"]]


def options(document: Document) -> list[str]:
    values: list[str] = []
    for option in document["meta"].get("options", []):
        assert (option["kind"], option["path"]) == ("uri:enum-value-option", "phase")
        values += option["values"]
    return values


def refusals(document: Document) -> list[str]:
    return [
        message["kind"]
        for message in document["meta"].get("messages", [])
        if message["kind"] in {"urn:update-refused", "urn:offer-expired"}
    ]


async def test_accepting_an_offer_rejects_its_siblings(node: NodeClient) -> None:
    chosen, sibling = await offered(node)

    answer = await node.update(chosen, "ACCEPTED")

    assert (answer.status, answer.document["phase"]) == (200, "ACCEPTED")
    assert (await node.session(sibling))["phase"] == "REJECTED"


@pytest.mark.parametrize("path", ["phase", "/phase"])
async def test_the_phase_may_be_named_in_both_ways(node: NodeClient, path: str) -> None:
    chosen, _ = await offered(node)
    update = {"kind": "uri:enum-value-update", "path": path, "value": "ACCEPTED"}

    answer = await node.call("POST", f"/sessions/{chosen}", json=update)

    assert answer.document["phase"] == "ACCEPTED"


async def test_accepting_twice_is_the_same_as_once(node: NodeClient) -> None:
    chosen, _ = await offered(node)
    await node.update(chosen, "ACCEPTED")
    await node.reaches(chosen, "COMPLETED")

    again = await node.update(chosen, "ACCEPTED", Prefer="handling=strict")

    assert (again.status, again.document["phase"]) == (200, "COMPLETED")
    assert refusals(again.document) == []


@pytest.mark.parametrize("value", ["REJECTED", "CANCELLED"])
async def test_rejecting_twice_is_the_same_as_once(node: NodeClient, value: str) -> None:
    chosen, _ = await offered(node)
    answers = [await node.update(chosen, value) for _ in range(2)]

    assert [answer.document["phase"] for answer in answers] == [value, value]
    assert refusals(answers[1].document) == []
    assert (await node.session(chosen))["phase"] == value


async def test_of_two_siblings_accepted_at_once_one_wins(node: NodeClient) -> None:
    """Upstream let both through."""
    for _ in range(5):
        sessions = await offered(node)
        answers = await asyncio.gather(*(node.update(uuid, "ACCEPTED") for uuid in sessions))

        phases = sorted(answer.document["phase"] for answer in answers)
        assert phases == ["ACCEPTED", "REJECTED"]


async def test_an_accepted_session_begins_at_once_and_holds_no_more_than_its_run(
    tmp_path: Path,
) -> None:
    clock = ShiftedClock()
    async with running_node(tmp_path, clock=clock) as node:
        chosen, _ = await offered(node)
        before = await node.session(chosen)
        interval = parse_interval(before["schedule"]["available"]["start"])
        assert interval.duration > timedelta(0)
        clock.advance(timedelta(seconds=100))

        asked_at = clock.now()
        answer = await node.update(chosen, "ACCEPTED")

        start = parse_interval(answer.document["schedule"]["available"]["start"])
        assert start.duration == timedelta(0)
        assert timedelta(0) <= start.start - asked_at <= timedelta(seconds=4)
        await node.reaches(chosen, "COMPLETED")


async def test_an_offer_cannot_be_accepted_after_it_expired(tmp_path: Path) -> None:
    """Upstream never set EXPIRED, and accepted at any time."""
    clock = ShiftedClock()
    async with running_node(tmp_path, clock=clock) as node:
        chosen, sibling = await offered(node)
        clock.advance(timedelta(seconds=301))

        answer = await node.update(chosen, "ACCEPTED")

        assert (answer.status, answer.document["phase"]) == (200, "EXPIRED")
        assert refusals(answer.document) == ["urn:offer-expired"]
        assert (await node.session(sibling))["phase"] == "EXPIRED"


async def test_an_offer_that_expired_is_read_as_expired(tmp_path: Path) -> None:
    clock = ShiftedClock()
    async with running_node(tmp_path, clock=clock) as node:
        answer = await node.ask(MINIMAL)
        clock.advance(timedelta(seconds=301))

        read = await node.call("GET", f"/offersets/{answer.uuid}")

        assert [offer["phase"] for offer in read.document["offers"]] == ["EXPIRED"] * 2
        assert options(read.document["offers"][0]) == []


async def test_an_offer_expires_by_itself_when_its_time_has_come(tmp_path: Path) -> None:
    settings = node_settings(offers=OfferSettings(expires_s=1, min_expires_s=1))
    async with running_node(tmp_path, settings) as node:
        await node.ask(MINIMAL)

        async def is_empty() -> bool:
            async with node.http.get("/metrics") as response:
                return "execbroker_node_ledger_bookings 0.0" in await response.text()

        assert not await is_empty()
        await eventually(is_empty, within_s=5)


@pytest.mark.parametrize("phase", ["RUNNING", "WAITING"])
async def test_cancelling_is_kept_stops_the_work_and_frees_its_place(
    tmp_path: Path, phase: str
) -> None:
    """Upstream forgot it by the next read, and let the work go on."""
    platform = ENDLESS if phase == "RUNNING" else replace(ENDLESS, prepare_s=1.0)
    async with running_node(tmp_path, node_settings(platform=platform)) as node:
        request = MINIMAL
        if phase == "WAITING":
            start = (ShiftedClock().now() + timedelta(hours=1)).isoformat()
            start = start.replace("+00:00", "Z")
            request = {**MINIMAL, "schedule": {"requested": {"start": f"{start}/PT1H"}}}
        answer = await node.direct(request)
        await node.reaches(answer.uuid, phase)

        cancelled = await node.update(answer.uuid, "CANCELLED")

        assert (cancelled.status, cancelled.document["phase"]) == (200, "CANCELLED")

        async def is_wound_down() -> bool:
            session = await node.session(answer.uuid)
            assert session["phase"] == "CANCELLED"
            async with node.http.get("/metrics") as response:
                is_free = "execbroker_node_ledger_bookings 0.0" in await response.text()
            return session["compute"]["phase"] == "CANCELLED" and is_free

        await eventually(is_wound_down)


async def test_options_are_those_of_the_phase_and_the_caller(endless: NodeClient) -> None:
    """Upstream gave none."""
    chosen, sibling = await offered(endless)
    path = f"/sessions/{chosen}"
    seen = {
        account: options((await endless.call("GET", path, auth=account)).document)
        for account in (ALICE, ADMIN, BOB, NOBODY)
    }
    both = ["ACCEPTED", "REJECTED"]
    assert seen == {ALICE: both, ADMIN: both, BOB: [], NOBODY: []}

    accepted = await endless.update(chosen, "ACCEPTED")
    assert options(accepted.document) == ["CANCELLED"]
    assert options(await endless.session(sibling)) == []
    assert options(await endless.reaches(chosen, "RUNNING")) == ["CANCELLED"]
    cancelled = await endless.update(chosen, "CANCELLED")
    assert options(cancelled.document) == []


REFUSED = [
    ({"kind": "uri:enum-value-update", "path": "phase", "value": "FAILED"}, "urn:update-refused"),
    ({"kind": "uri:enum-value-update", "path": "phase", "value": "NEVER"}, "urn:update-refused"),
    ({"kind": "uri:enum-value-update", "path": "name", "value": "ACCEPTED"}, "urn:update-refused"),
    ({"kind": "uri:string-value-update", "path": "phase", "value": "x"}, "urn:update-refused"),
    ({"kind": "uri:integer-value-update", "path": "phase", "value": 1}, "urn:update-refused"),
    ({"kind": "uri:integer-delta-update", "path": "phase", "delta": 1}, "urn:update-refused"),
]


@pytest.mark.parametrize(("update", "kind"), REFUSED)
async def test_a_refused_update_changes_nothing_and_says_why(
    node: NodeClient, update: Document, kind: str
) -> None:
    """Upstream answered as if it had succeeded."""
    chosen, _ = await offered(node)

    answer = await node.call("POST", f"/sessions/{chosen}", json=update)

    assert (answer.status, answer.document["phase"]) == (200, "OFFERED")
    (message,) = answer.messages
    assert message["kind"] == kind
    assert "${" not in message["message"]
    assert refusals(await node.session(chosen)) == []


@pytest.mark.parametrize(("update", "kind"), REFUSED)
async def test_a_refused_update_is_409_where_handling_is_strict(
    node: NodeClient, update: Document, kind: str
) -> None:
    chosen, _ = await offered(node)
    strict = {"Prefer": "handling=strict"}

    answer = await node.call("POST", f"/sessions/{chosen}", json=update, headers=strict)

    assert answer.status == 409
    assert answer.document["detail"]
    assert (await node.session(chosen))["phase"] == "OFFERED"


@pytest.mark.parametrize(
    ("first", "then"),
    [("REJECTED", "ACCEPTED"), ("CANCELLED", "ACCEPTED"), ("REJECTED", "CANCELLED")],
)
async def test_there_is_no_way_back_from_an_end(node: NodeClient, first: str, then: str) -> None:
    chosen, _ = await offered(node)
    await node.update(chosen, first)

    answer = await node.update(chosen, then)

    assert answer.document["phase"] == first
    assert refusals(answer.document) == ["urn:update-refused"]


async def test_what_runs_cannot_be_rejected(endless: NodeClient) -> None:
    chosen, _ = await offered(endless)
    await endless.update(chosen, "ACCEPTED")

    answer = await endless.update(chosen, "REJECTED")

    assert refusals(answer.document) == ["urn:update-refused"]


async def test_a_stranger_may_read_and_may_not_change(node: NodeClient) -> None:
    chosen, _ = await offered(node)

    answer = await node.update(chosen, "ACCEPTED", auth=BOB)

    assert answer.status == 403
    assert (await node.session(chosen))["phase"] == "OFFERED"


async def test_the_administrator_may_change_everything(node: NodeClient) -> None:
    chosen, _ = await offered(node)

    assert (await node.update(chosen, "ACCEPTED", auth=ADMIN)).document["phase"] == "ACCEPTED"


async def test_what_the_administrator_made_is_not_everybodys(node: NodeClient) -> None:
    """Upstream let anybody change it."""
    answer = await node.call("POST", "/requests", json=MINIMAL, auth=ADMIN)
    chosen = answer.document["offers"][0]["meta"]["uuid"]

    assert (await node.update(chosen, "ACCEPTED", auth=ALICE)).status == 403
    assert (await node.update(chosen, "ACCEPTED", auth=ADMIN)).document["phase"] == "ACCEPTED"


async def test_a_change_is_dated(node: NodeClient) -> None:
    chosen, _ = await offered(node)
    before = await node.session(chosen)
    await node.update(chosen, "REJECTED")
    after = await node.session(chosen)

    assert parse_instant(before["meta"]["created"]) == parse_instant(after["meta"]["created"])
    assert parse_instant(before["meta"]["modified"]) < parse_instant(after["meta"]["modified"])
