"""Asking again with changes: the new set stands before the old one lets go."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

from gateway.wire.documents import Document
from tests.api.gateway.conftest import Federation, holds_of, running_federation
from tests.support import faulty_nodes
from tests.support.gateway import Answer
from tests.support.node import ALICE, BOB, node_settings, running_node
from tests.support.problems import SOME_UUID, pointers, problem
from tests.support.requests import minimal_request
from tests.support.waiting import eventually


async def again(
    federation: Federation, offerset: Document, change: Any, query: str = "", **headers: Any
) -> Answer:
    """Ask anew with this merge patch."""
    path = f"/offersets/{offerset['meta']['uuid']}/request{query}"
    given = {"Content_Type": "application/merge-patch+json"} | headers
    return await federation.gateway.call("PATCH", path, change, **given)


async def read(federation: Federation, offerset: Document) -> Document:
    answer = await federation.gateway.call("GET", f"/offersets/{offerset['meta']['uuid']}")
    document: Document = answer.document
    return document


def phases_of(offerset: Document) -> set[str]:
    return {offer["phase"] for offer in offerset["offers"]}


async def test_the_old_set_is_let_go_once_the_new_one_stands_and_each_names_the_other(
    federation: Federation,
) -> None:
    old = (await federation.gateway.ask(minimal_request(), "?limit=2&policy=soonest")).document
    answer = await again(federation, old, {"compute": {"cores": {"min": 2}}})
    assert answer.status == 303, answer.text
    new = answer.document
    assert new["offers"][0]["compute"]["cores"]["min"] >= 2
    assert new["federation"]["previous"] == old["meta"]["uuid"]
    # What the query does not say is as it was.
    assert new["federation"]["policy"] == "soonest"
    assert len(new["offers"]) == 2

    before = await read(federation, old)
    assert before["federation"]["next"] == new["meta"]["uuid"]
    assert phases_of(before) == {"REJECTED"}
    for offer in old["offers"]:
        await federation.becomes_at_node(offer, "REJECTED")
    assert (await read(federation, new))["federation"]["previous"] == old["meta"]["uuid"]
    assert phases_of(await read(federation, new)) == {"OFFERED"}

    async def held() -> bool:
        return sum([await holds_of(node) for node in federation.nodes.values()]) == 2

    await eventually(held)


async def test_a_set_of_which_an_offer_is_accepted_is_not_asked_anew(
    federation: Federation,
) -> None:
    old = (await federation.gateway.ask(minimal_request())).document
    uuid = old["offers"][0]["meta"]["uuid"]
    await federation.gateway.move(uuid, "ACCEPTED")
    refused = problem(await again(federation, old, {}), 409)
    assert refused["session"] == uuid
    await federation.gateway.move(uuid, "CANCELLED")
    await federation.becomes(old["offers"][0], "CANCELLED")
    assert (await again(federation, old, {})).status == 303


async def test_a_set_that_was_replaced_leads_to_the_one_in_its_place(
    federation: Federation,
) -> None:
    old = (await federation.gateway.ask(minimal_request())).document
    new = (await again(federation, old, {})).document
    refused = problem(await again(federation, old, {}), 409)
    assert refused["offerset"] == new["meta"]["uuid"]
    newest = (await again(federation, new, {})).document
    middle = (await read(federation, new))["federation"]
    assert (middle["previous"], middle["next"]) == (old["meta"]["uuid"], newest["meta"]["uuid"])


async def test_the_same_key_gets_the_same_new_set(federation: Federation) -> None:
    old = (await federation.gateway.ask(minimal_request())).document
    key = {"Idempotency_Key": str(uuid4())}
    first = await again(federation, old, {"compute": {"cores": {"min": 2}}}, **key)
    second = await again(federation, old, {"compute": {"cores": {"min": 2}}}, **key)
    assert first.document["meta"]["uuid"] == second.document["meta"]["uuid"]
    problem(await again(federation, old, {"compute": {"cores": {"min": 3}}}, **key), 422)


async def test_of_two_that_ask_anew_at_once_one_gets_the_place_and_the_other_holds_nothing(
    federation: Federation,
) -> None:
    old = (await federation.gateway.ask(minimal_request(), "?limit=1")).document
    answers = await asyncio.gather(again(federation, old, {}), again(federation, old, {}))
    assert sorted(answer.status for answer in answers) == [303, 409]

    async def held() -> bool:
        return sum([await holds_of(node) for node in federation.nodes.values()]) == 1

    await eventually(held)


async def test_an_acceptance_meanwhile_keeps_the_old_set_and_the_new_one_is_let_go(
    tmp_path: Path,
) -> None:
    async with (
        faulty_nodes.running(faulty_nodes.answers_late(1.5)) as slow,
        running_federation(tmp_path, ("alpha",), others={"slow": slow.url}) as federation,
    ):
        alpha = federation.nodes["alpha"]
        old = (await federation.gateway.ask(minimal_request(), "?nodes=alpha&limit=1")).document

        async def are_both_held() -> bool:
            return await holds_of(alpha) > 1

        async def is_one_held() -> bool:
            return await holds_of(alpha) == 1

        await eventually(is_one_held)
        asking = asyncio.ensure_future(again(federation, old, {}, "?nodes=alpha,slow"))
        await eventually(are_both_held)
        uuid = old["offers"][0]["meta"]["uuid"]
        assert (await federation.gateway.move(uuid, "ACCEPTED")).status == 200
        assert problem(await asking, 409)["session"] == uuid

        async def is_no_more_held() -> bool:
            # The session itself may have ended by now.
            return await holds_of(alpha) <= 1

        await eventually(is_no_more_held)
        assert (await federation.gateway.read(uuid))["phase"] != "REJECTED"


async def test_while_nobody_answers_the_old_set_stays_as_it_is(tmp_path: Path) -> None:
    node = running_node(tmp_path, node_settings(name="alpha"))
    async with AsyncExitStack() as nodes:
        others = {"alpha": (await nodes.enter_async_context(node)).url}
        async with running_federation(tmp_path, (), others=others) as federation:
            old = (await federation.gateway.ask(minimal_request())).document
            await nodes.aclose()
            problem(await again(federation, old, {}, Prefer="wait=1"), 503)
            now = await read(federation, old)
    assert phases_of(now) == {"OFFERED"}
    assert "next" not in now["federation"]


async def test_a_no_to_the_changes_leaves_the_old_offers(federation: Federation) -> None:
    old = (await federation.gateway.ask(minimal_request())).document
    answer = await again(federation, old, {"compute": {"cores": {"min": 10_000}}})
    assert answer.document["result"] == "NO"
    assert answer.document["federation"]["previous"] == old["meta"]["uuid"]
    now = await read(federation, old)
    assert phases_of(now) == {"OFFERED"}
    assert "next" not in now["federation"]
    assert (await again(federation, old, {})).document["result"] == "YES"


async def test_only_the_owner_asks_anew(federation: Federation) -> None:
    gateway = federation.gateway
    old = (await gateway.ask(minimal_request(), account=ALICE)).document
    problem(await again(federation, old, {}, account=BOB), 403)
    problem(await again(federation, {"meta": {"uuid": SOME_UUID}}, {}, account=ALICE), 404)
    assert (await again(federation, old, {}, account=ALICE)).status == 303


async def test_changes_that_make_no_request_are_refused_before_anybody_is_asked(
    federation: Federation,
) -> None:
    old = (await federation.gateway.ask(minimal_request())).document
    change = {"executable": None, "schedule": {"requested": {"duration": "long"}}}
    refused = problem(await again(federation, old, change), 422)
    assert pointers(refused) == ["/executable", "/schedule/requested/duration"]
    assert phases_of(await read(federation, old)) == {"OFFERED"}
