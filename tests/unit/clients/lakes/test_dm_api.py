"""The data management API: three shapes of one answer, one identifier a call, and no sizes."""

import asyncio
import json
from typing import Any
from urllib.parse import unquote

import pytest

from gateway.clients.lakes.authorized import AuthorizedCaller
from gateway.clients.lakes.connections import LakeConnections
from gateway.clients.lakes.dm_api import CALLS_AT_ONCE, DmApiLake, replicas_from, to_holding
from gateway.clients.lakes.errors import LakeInvalidAnswerError
from gateway.clients.lakes.tokens import FixedToken, TokenCache
from gateway.domain.holdings import Copy, DidKind, LocateResult, Place
from gateway.domain.reasons import ReasonCode
from gateway.wire.secret import Secret
from tests.support.faulty_nodes import Asked, running
from tests.support.lake_stubs import Answer, Told, answering, did, fails, hangs, in_s, says

URLS = ["davs://uk.invalid/1", "davs://uk.invalid/2"]


def item(rse: str, urls: list[str], **members: Any) -> dict[str, Any]:
    return {"identifier": rse, "replicas": urls, **members}


TODAY = [item("UK", URLS, associated_storage_area_id="a1", is_dataset=True), item("JP", URLS[:1])]
FIRST = {"UK": URLS, "JP": URLS[:1]}
SECOND = {"UK": {"replicas": URLS, "services": []}, "JP": {"replicas": URLS[:1]}}


async def locate(answer: Answer, *names: str, within_s: float = 2.0) -> LocateResult:
    async with answering(answer) as (server, connections):
        lake = DmApiLake("dm-api", AuthorizedCaller(connections, server.url, None))
        dids = [did(name) for name in names]
        return await lake.locate(dids, deadline=in_s(within_s), settled=Told())


@pytest.mark.parametrize("document", [TODAY, FIRST, SECOND])
def test_all_three_shapes_say_the_same(document: object) -> None:
    stored = replicas_from(document)
    assert [(one.place.rse, len(one.urls)) for one in stored] == [("UK", 2), ("JP", 1)]


@pytest.mark.parametrize(
    "document",
    [None, "UK", 3, [["UK"]], [{"replicas": []}], {"UK": "url"}, {"UK": [1]}, [item("UK", None)]],  # type: ignore[arg-type]
)
def test_any_other_shape_is_no_answer(document: object) -> None:
    with pytest.raises(LakeInvalidAnswerError):
        replicas_from(document)


def test_a_storage_area_is_known_by_its_id_where_there_is_one() -> None:
    uk, jp = replicas_from(TODAY)
    assert (uk.place, jp.place) == (Place(rse="UK", area="a1"), Place(rse="JP"))


def test_completeness_of_a_dataset_is_a_guess_from_counts() -> None:
    holding = to_holding(did("d"), replicas_from(TODAY))
    assert (holding.kind, holding.bytes, holding.files) == (DidKind.DATASET, None, 2)
    assert holding.is_approximate
    assert holding.parts[0].copies == (
        Copy(Place(rse="UK", area="a1"), files=2),
        Copy(Place(rse="JP"), files=1, is_complete=False),
    )


def test_a_file_has_its_urls_and_no_size() -> None:
    stored = replicas_from([item("UK", URLS[:1], is_dataset=False)])
    holding = to_holding(did("f"), stored)
    assert (holding.kind, holding.bytes, holding.is_approximate) == (DidKind.FILE, None, False)
    assert holding.parts[0].copies == (Copy(Place(rse="UK"), files=1, urls=tuple(URLS[:1])),)


def test_a_single_url_without_a_word_may_be_of_anything() -> None:
    holding = to_holding(did("f"), replicas_from({"UK": URLS[:1], "JP": URLS[:1]}))
    assert (holding.kind, holding.files) == (DidKind.UNKNOWN, 1)


@pytest.mark.parametrize(
    "answer", [fails("404 Not Found"), says(b"[]"), says(b"{}"), says(b'{"UK": []}')]
)
async def test_unknown_is_said_in_several_ways(answer: Answer) -> None:
    result = await locate(answer, "x")
    assert result.missing[did("x")].code is ReasonCode.DATA_NOT_FOUND


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (fails("500 Internal Server Error"), ReasonCode.LAKE_FAILED),
        (fails("503 Service Unavailable"), ReasonCode.LAKE_FAILED),
        (fails("401 Unauthorized"), ReasonCode.LAKE_REFUSED_CREDENTIALS),
        (fails("422 Unprocessable Entity"), ReasonCode.DATA_PLACE_UNKNOWN),
        (says(b"<html>"), ReasonCode.LAKE_INVALID_ANSWER),
        (hangs, ReasonCode.LAKE_TIMEOUT),
    ],
)
async def test_trouble_is_told_from_not_being_there(answer: Answer, code: ReasonCode) -> None:
    within_s = 0.3 if answer is hangs else 10
    result = await locate(answer, "x", within_s=within_s)
    assert result.missing[did("x")].code is code


async def test_each_identifier_is_one_call_in_random_order_with_the_services_token() -> None:
    async with (
        running(says(json.dumps(FIRST).encode())) as server,
        LakeConnections() as connections,
    ):
        tokens = TokenCache(FixedToken(Secret("s3cr3t")))
        lake = DmApiLake("dm-api", AuthorizedCaller(connections, server.url, tokens))
        dids = [did("a/b c"), did("d"), did("d")]
        result = await lake.locate(dids, deadline=in_s(2), settled=Told())
        asked = {unquote(one.path) for one in server.asked}
        headers = {one.headers["authorization"] for one in server.asked}
    assert set(result.holdings) == {did("a/b c"), did("d")}
    assert asked == {"/data/locate/test/a/b c?sort=random", "/data/locate/test/d?sort=random"}
    assert headers == {"Bearer s3cr3t"}


async def test_a_name_never_leads_to_another_resource() -> None:
    async with answering(says(b"[]")) as (server, connections):
        lake = DmApiLake("dm-api", AuthorizedCaller(connections, server.url, None))
        result = await lake.locate(
            [did("../../download/x"), did("ok")], deadline=in_s(2), settled=Told()
        )
        assert [one.path for one in server.asked] == ["/data/locate/test/ok?sort=random"]
    assert result.missing[did("../../download/x")].code is ReasonCode.DATA_PLACE_UNKNOWN


async def test_no_more_are_asked_at_once_than_is_good_for_it() -> None:
    at_once = most = 0

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        await says(b"[]")(asked, writer)

    result = await locate(answer, *(f"f{index}" for index in range(40)), within_s=5)
    assert len(result.missing) == 40
    assert most == CALLS_AT_ONCE


async def test_one_bad_answer_costs_only_its_own() -> None:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        behave = hangs if "bad" in asked.path else says(json.dumps(FIRST).encode())
        await behave(asked, writer)

    result = await locate(answer, "bad", "good", within_s=0.4)
    assert set(result.holdings) == {did("good")}


async def test_health_is_whether_it_answers() -> None:
    async with answering(says(b'"pong"')) as (server, connections):
        lake = DmApiLake("dm-api", AuthorizedCaller(connections, server.url, None))
        assert (await lake.health(deadline=in_s(1))).is_up
    async with LakeConnections() as connections:
        lake = DmApiLake("dm-api", AuthorizedCaller(connections, server.url, None))
        assert not (await lake.health(deadline=in_s(1))).is_up
