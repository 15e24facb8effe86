"""Offers: what is answered, what is held, and that the same question is answered once."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from gateway.wire.documents import Document
from gateway.wire.kinds import SIMPLE_COMPUTE, SIMPLE_STORAGE
from gateway.wire.times import parse_instant, parse_interval
from node_stub.config import OfferSettings
from tests.support.node import (
    ADMIN,
    BOB,
    NOBODY,
    NodeClient,
    ShiftedClock,
    node_settings,
    running_node,
)
from tests.support.node_requests import FULL, JUPYTER, MINIMAL, OTHER_DATA, SINGULARITY

ALL_CORES: Final[Document] = {
    **MINIMAL,
    "compute": {"kind": SIMPLE_COMPUTE, "cores": {"min": 8, "max": 8}},
    "schedule": {"requested": {"duration": "PT10M"}},
}
"""Nothing else fits beside it."""


def starts(document: Document) -> list[str]:
    """The first possible start of each offer."""
    offers = document.get("offers", [])
    return [offer["schedule"]["available"]["start"].split("/")[0] for offer in offers]


async def gauges(node: NodeClient) -> Mapping[str, float]:
    """The node's own metrics by name and labels."""
    async with asyncio.timeout(5):
        text = await read_metrics(node)
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


async def read_metrics(node: NodeClient) -> str:
    async with node.http.get("/metrics") as response:
        return await response.text()


async def bookings(node: NodeClient) -> float:
    return (await gauges(node))["execbroker_node_ledger_bookings"]


async def test_a_request_is_answered_with_a_redirect_that_carries_what_it_leads_to(
    node: NodeClient,
) -> None:
    answer = await node.ask(MINIMAL)

    assert answer.status == 303
    assert answer.headers["Location"] == f"{node.url}/offersets/{answer.uuid}"
    assert answer.document["result"] == "YES"
    assert len(answer.document["offers"]) == 2
    read = await node.call("GET", f"/offersets/{answer.uuid}")
    assert read.document == answer.document


async def test_a_representation_is_given_at_once_where_that_is_preferred(node: NodeClient) -> None:
    answer = await node.ask(MINIMAL, Prefer="return=representation")

    assert answer.status == 200
    assert answer.headers["Preference-Applied"] == "return=representation"
    assert "Location" not in answer.headers
    assert answer.document["result"] == "YES"


async def test_urls_begin_with_the_public_url(tmp_path: Path) -> None:
    settings = node_settings(public_url="https://node.example.org/broker")
    async with running_node(tmp_path, settings) as node:
        answer = await node.ask(MINIMAL)

    public = "https://node.example.org/broker"
    assert answer.headers["Location"] == f"{public}/offersets/{answer.uuid}"
    assert answer.document["meta"]["url"] == f"{public}/offersets/{answer.uuid}"
    (offer, *_) = answer.document["offers"]
    assert offer["meta"]["url"] == f"{public}/sessions/{offer['meta']['uuid']}"
    assert offer["compute"]["meta"]["url"].startswith(f"{public}/compute/")


async def test_offers_follow_one_another_when_nothing_is_booked(node: NodeClient) -> None:
    answer = await node.ask(ALL_CORES)

    first, second = (parse_instant(text) for text in starts(answer.document))
    assert second >= first + timedelta(minutes=10)


async def test_an_outstanding_offer_pushes_the_next_request_on(node: NodeClient) -> None:
    """Upstream never counted any booking."""
    one = await node.ask(ALL_CORES)
    other = await node.ask(ALL_CORES)

    assert not set(starts(one.document)) & set(starts(other.document))
    assert await bookings(node) == 4


async def test_two_who_ask_at_once_are_never_promised_the_same(node: NodeClient) -> None:
    answers = await asyncio.gather(*(node.ask(ALL_CORES) for _ in range(10)))

    all_starts = [start for answer in answers for start in starts(answer.document)]
    assert len(all_starts) == len(set(all_starts)) == 20


async def test_a_rejected_offer_gives_its_place_back(node: NodeClient) -> None:
    one = await node.ask(ALL_CORES)
    for offer in one.document["offers"]:
        await node.update(offer["meta"]["uuid"], "REJECTED")

    other = await node.ask(ALL_CORES)

    assert await bookings(node) == 2
    later = parse_instant(starts(other.document)[0]) - parse_instant(starts(one.document)[0])
    assert later < timedelta(seconds=30)


async def test_an_expired_offer_gives_its_place_back(tmp_path: Path) -> None:
    clock = ShiftedClock()
    async with running_node(tmp_path, clock=clock) as node:
        await node.ask(ALL_CORES)
        clock.advance(timedelta(seconds=301))
        answer = await node.ask(ALL_CORES)

        assert parse_instant(starts(answer.document)[0]) - clock.now() < timedelta(seconds=5)
        assert await bookings(node) == 2


async def test_a_request_that_finds_no_room_is_told_when_there_is(node: NodeClient) -> None:
    soon = parse_instant(starts((await node.ask(ALL_CORES)).document)[0]) + timedelta(seconds=30)
    window = f"{soon.isoformat()}/PT1M".replace("+00:00", "Z")
    document = {
        **ALL_CORES,
        "schedule": {"requested": {"duration": "PT10M", "start": window}},
    }

    answer = await node.ask(document)

    assert answer.document["result"] == "NO"
    (message,) = answer.messages
    assert message["kind"] == "urn:no-capacity"
    assert parse_instant(message["values"]["next"]) > soon


async def test_offers_keep_within_what_was_asked(node: NodeClient) -> None:
    """Upstream passed the client's maximum, and knew no end of the interval."""
    start = (ShiftedClock().now() + timedelta(hours=1)).replace(microsecond=0)
    document = {
        **MINIMAL,
        "compute": {
            "kind": SIMPLE_COMPUTE,
            "cores": {"min": 2, "max": 3},
            "memory": {"min": 5, "max": 6},
        },
        "schedule": {
            "requested": {
                "duration": "PT3H",
                "start": f"{start.isoformat().replace('+00:00', 'Z')}/PT30M",
            }
        },
    }

    answer = await node.ask(document)

    assert answer.document["result"] == "YES"
    for offer in answer.document["offers"]:
        cores, memory = offer["compute"]["cores"], offer["compute"]["memory"]
        assert 2 <= cores["min"] <= cores["max"] <= 3
        assert 5 <= memory["min"] <= memory["max"] <= 6
        available = parse_interval(offer["schedule"]["available"]["start"])
        assert start <= available.start <= available.end <= start + timedelta(minutes=30)


async def test_memory_is_reported_as_memory(node: NodeClient) -> None:
    document = {
        **MINIMAL,
        "compute": {"kind": SIMPLE_COMPUTE, "cores": {"min": 1}, "memory": {"min": 7, "max": 7}},
    }

    answer = await node.ask(document)

    assert answer.document["offers"][0]["compute"]["memory"] == {"min": 7, "max": 7}


async def test_every_component_can_be_read_where_it_says(node: NodeClient) -> None:
    document = {
        **FULL,
        "schedule": {"requested": {"duration": "PT10M"}},
        "costs": [],
        "metrics": [],
    }
    answer = await node.ask(document)
    offer: Document = answer.document["offers"][0]
    parts: list[Any] = [
        offer["executable"],
        offer["compute"],
        *offer["compute"]["volumes"],
        *offer["storage"],
        *offer["data"],
    ]
    for part in parts:
        read = await node.call("GET", part["meta"]["url"].removeprefix(node.url))
        assert (read.status, read.document) == (200, part)


@pytest.mark.parametrize(
    "executable", [JUPYTER, SINGULARITY, FULL], ids=["jupyter", "sif", "docker"]
)
async def test_what_the_client_said_is_said_again(node: NodeClient, executable: Document) -> None:
    """Upstream lost descriptions, locations, S3 and the size of storage."""
    said = {**executable["executable"], "meta": {"name": "mine", "description": "all of it"}}
    s3 = {**OTHER_DATA[0], "storage": "disk"}
    disk = {"kind": SIMPLE_STORAGE, "meta": {"name": "disk"}, "size": {"min": 3, "max": 3}}

    answer = await node.ask({"executable": said, "storage": [disk], "data": [s3]})

    session = await node.session(answer.document["offers"][0]["meta"]["uuid"])
    assert session["meta"]["description"] == "all of it"
    for member in ("location", "image", "command", "entrypoint", "environment"):
        assert session["executable"].get(member) == said.get(member)
    assert session["storage"][0]["size"] == {"min": 3, "max": 3}
    (data,) = session["data"]
    assert {**s3, "storage": data["storage"], "meta": data["meta"]}.items() <= data.items()
    for part in (session, session["compute"], *session["storage"], data):
        for stage in ("preparing", "available", "releasing"):
            assert part["schedule"][stage]["start"] > "1971"


async def test_a_component_is_not_found_in_another_collection(node: NodeClient) -> None:
    answer = await node.ask(MINIMAL)
    uuid = answer.document["offers"][0]["compute"]["meta"]["uuid"]

    assert (await node.call("GET", f"/storage/{uuid}")).status == 404


async def test_direct_execution_is_accepted_at_once(node: NodeClient) -> None:
    answer = await node.direct(MINIMAL)

    assert answer.status == 303
    assert answer.headers["Location"] == f"{node.url}/sessions/{answer.uuid}"
    assert answer.document["phase"] in {"ACCEPTED", "WAITING", "PREPARING"}
    await node.reaches(answer.uuid, "COMPLETED")


async def test_direct_execution_that_is_impossible_is_400_and_a_failed_session(
    node: NodeClient,
) -> None:
    """Upstream answered 500."""
    answer = await node.direct({})

    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.document["phase"] == "FAILED"
    assert [message["kind"] for message in answer.messages] == ["urn:executable-required"]
    assert await node.session(answer.uuid) == answer.document


async def test_direct_execution_without_room_is_400_and_says_why(node: NodeClient) -> None:
    now = ShiftedClock().now()
    start = f"{now.isoformat().replace('+00:00', 'Z')}/PT2M"
    document = {**ALL_CORES, "schedule": {"requested": {"duration": "PT10M", "start": start}}}
    await node.direct(ALL_CORES)

    answer = await node.direct(document)

    assert answer.status == 400
    assert [message["kind"] for message in answer.messages] == ["urn:no-capacity"]


@pytest.mark.parametrize("path", ["/requests", "/direct"])
async def test_the_same_key_and_body_are_answered_the_same(node: NodeClient, path: str) -> None:
    key = {"Idempotency-Key": "key-1"}
    first = await node.call("POST", path, json=MINIMAL, headers=key)
    again = await node.call("POST", path, json=MINIMAL, headers=key)

    assert first.uuid == again.uuid
    assert again.status == 303
    assert again.headers["Idempotency-Key"] == "key-1"
    assert await bookings(node) == (2 if path == "/requests" else 1)


async def test_the_same_body_in_another_order_is_the_same(node: NodeClient) -> None:
    document = {"costs": [], **MINIMAL}
    turned = dict(reversed(document.items()))

    first = await node.ask(document, Idempotency_Key="key-1")

    assert (await node.ask(turned, Idempotency_Key="key-1")).uuid == first.uuid


@pytest.mark.parametrize("path", ["/requests", "/direct"])
async def test_many_who_come_at_once_with_one_key_get_one_answer(
    node: NodeClient, path: str
) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    answers = await asyncio.gather(
        *(node.call("POST", path, json=MINIMAL, headers=key) for _ in range(8))
    )

    assert len({answer.uuid for answer in answers}) == 1
    assert {answer.status for answer in answers} == {303}


async def test_the_same_key_is_answered_the_same_after_a_restart(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        first = await node.ask(MINIMAL, Idempotency_Key="key-1")
        refused = await node.direct({}, Idempotency_Key="key-2")
    async with running_node(tmp_path) as node:
        assert (await node.ask(MINIMAL, Idempotency_Key="key-1")).uuid == first.uuid
        again = await node.direct({}, Idempotency_Key="key-2")
        assert (again.status, again.uuid) == (400, refused.uuid)
        assert await bookings(node) == 2


async def test_the_same_key_with_another_body_is_422_and_holds_nothing(node: NodeClient) -> None:
    await node.ask(MINIMAL, Idempotency_Key="key-1")

    answer = await node.ask(ALL_CORES, Idempotency_Key="key-1")

    assert answer.status == 422
    assert answer.document["type"].endswith("idempotency-key-reused")
    assert await bookings(node) == 2


async def test_the_same_key_on_another_path_is_422(node: NodeClient) -> None:
    await node.ask(MINIMAL, Idempotency_Key="key-1")

    assert (await node.direct(MINIMAL, Idempotency_Key="key-1")).status == 422


async def test_keys_of_different_owners_are_different(node: NodeClient) -> None:
    key = {"Idempotency-Key": "key-1"}
    answers = [
        await node.call("POST", "/requests", json=MINIMAL, headers=key, auth=account)
        for account in (node.auth, BOB, ADMIN)
    ]

    assert len({answer.uuid for answer in answers}) == 3


async def test_a_key_of_any_length_up_to_255_is_taken(node: NodeClient) -> None:
    assert (await node.ask(MINIMAL, Idempotency_Key="k" * 255)).status == 303
    assert (await node.ask(MINIMAL, Idempotency_Key="k" * 256)).status == 400


@pytest.mark.parametrize("budget", ["0", "00"])
async def test_a_gateway_whose_time_is_over_is_refused_without_a_hold(
    node: NodeClient, budget: str
) -> None:
    answer = await node.ask(MINIMAL, Federation_Budget_Ms=budget)

    assert answer.status == 503
    assert answer.headers["Retry-After"] == "1"
    assert await bookings(node) == 0


@pytest.mark.parametrize("budget", ["5000", "999999999"])
async def test_a_gateway_with_time_left_is_answered(node: NodeClient, budget: str) -> None:
    answer = await node.ask(
        MINIMAL, Federation_Budget_Ms=budget, Federation_Path="urn:gateway:one, urn:gateway:two"
    )

    assert answer.status == 303


async def test_a_host_that_is_none_is_400_and_holds_nothing(node: NodeClient) -> None:
    answer = await node.ask(MINIMAL, Host="a b/c")

    assert answer.status == 400
    assert await bookings(node) == 0


@pytest.mark.parametrize("accept", ["application/yaml", "application/xml"])
async def test_answers_come_in_the_wanted_media_type(node: NodeClient, accept: str) -> None:
    answer = await node.call("POST", "/requests", json=MINIMAL, headers={"Accept": accept})

    assert answer.status == 303
    assert answer.headers["Content-Type"].startswith(accept)


async def test_reads_can_be_kept_to_the_owner(tmp_path: Path) -> None:
    settings = node_settings()
    private = replace(settings.authentication, reads=type(settings.authentication.reads).OWNER)
    async with running_node(tmp_path, replace(settings, authentication=private)) as node:
        answer = await node.ask(MINIMAL)
        paths = [
            f"/offersets/{answer.uuid}",
            f"/sessions/{answer.document['offers'][0]['meta']['uuid']}",
            f"/compute/{answer.document['offers'][0]['compute']['meta']['uuid']}",
        ]
        for path in paths:
            statuses = [
                (await node.call("GET", path, auth=account)).status
                for account in (node.auth, ADMIN, BOB, NOBODY)
            ]
            assert statuses == [200, 200, 404, 401]


async def test_offers_are_as_many_as_the_settings_say(tmp_path: Path) -> None:
    settings = node_settings(offers=OfferSettings(count=4))
    async with running_node(tmp_path, settings) as node:
        answer = await node.ask(MINIMAL)

    assert len(answer.document["offers"]) == 4


@pytest.mark.parametrize("budget", ["-5", "soon", "", "5.5"])
async def test_a_budget_that_is_no_number_of_milliseconds_is_400(
    node: NodeClient, budget: str
) -> None:
    answer = await node.ask(MINIMAL, Federation_Budget_Ms=budget)
    assert answer.status == 400
    assert "Federation-Budget-Ms" in answer.document["detail"]
