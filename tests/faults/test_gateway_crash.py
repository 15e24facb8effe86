"""Kill the gateway or a node between any two steps of offer and accept: nothing is lost or doubled.

After a restart every session that the client was told of is there and comes to its end, at most one
of an offer set ever ran at any node, and nothing stays held once expiry has passed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from gateway.wire.documents import Document
from node_stub.platforms.simulated import JobStep, SimulatedSettings
from tests.support.crashing import (
    NODES,
    SETTLED_S,
    Federation,
    is_request,
    is_update,
    is_update_of,
    killable_federation,
)
from tests.support.gateway import Answer, GatewayUnderTest
from tests.support.nursery import Nursery
from tests.support.proxy import Applies, Gate, Moment
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

KEY: Final = "the-one-request"
RUNS_ON: Final = SimulatedSettings(
    prepare_s=0, run_s=0, release_s=0.01, hang=frozenset({JobStep.RUN})
)
"""Work that ends only when it is cancelled."""


def offers_of(answer: Answer | None) -> list[Document]:
    assert answer is not None
    assert answer.status == 303, answer.text
    offers: list[Document] = answer.document["offers"]
    return offers


async def ask(federation: Federation) -> Answer:
    return await federation.client.ask(minimal_request(), Idempotency_Key=KEY)


async def direct(federation: Federation) -> Answer:
    return await federation.client.call("POST", "/direct", minimal_request(), Idempotency_Key=KEY)


def elsewhere(offers: Sequence[Document], than: Document) -> Document:
    """The best offer of another node."""
    node = than["federation"]["node"]
    return next(offer for offer in offers if offer["federation"]["node"] != node)


# -- offering -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "at", "is_lost"),
    [
        pytest.param(Moment.ASKED, NODES, True, id="before-any-node-was-asked"),
        pytest.param(Moment.ASKED, NODES, False, id="before-the-nodes-heard-it"),
        pytest.param(Moment.ANSWERED, NODES, True, id="before-the-answers-came"),
        pytest.param(Moment.ANSWERED, NODES[:1], True, id="before-one-of-the-answers-came"),
        pytest.param(Moment.PASSED_ON, NODES, True, id="when-the-answers-came"),
    ],
)
async def test_a_request_cut_short_is_answered_with_one_set_when_it_is_sent_again(
    nursery: Nursery, tmp_path: Path, moment: Moment, at: tuple[str, ...], is_lost: bool
) -> None:
    async with killable_federation(nursery, tmp_path, expires_s=8) as federation:
        gates = federation.stop_at(moment, is_request, *at)
        before = await federation.killed_during(ask(federation), gates)
        for gate in gates:
            gate.lose() if is_lost else gate.open()
        await federation.restart()
        for proxy in federation.proxies.values():
            proxy.remove_gates()

        answer = await ask(federation)
        offers = offers_of(answer)
        assert {offer["federation"]["node"] for offer in offers} == set(NODES)
        if before is not None:
            assert before.document["meta"]["uuid"] == answer.document["meta"]["uuid"]
        # Not one hold more than the set shows: the nodes were asked the same thing twice.
        assert sum((await federation.holds()).values()) == len(offers)
        again = await ask(federation)
        assert again.document["meta"]["uuid"] == answer.document["meta"]["uuid"]

        accepted = await federation.client.move(offers[0]["meta"]["uuid"], "ACCEPTED")
        assert accepted.status == 200
        last = await federation.comes_to_rest(offers)
        assert federation.ran() == {offers[0]["meta"]["uuid"]}
        assert last[offers[0]["meta"]["uuid"]] == "COMPLETED"


async def test_holds_that_nobody_came_back_for_end_when_they_expire(
    nursery: Nursery, tmp_path: Path
) -> None:
    async with killable_federation(nursery, tmp_path) as federation:
        gates = federation.stop_at(Moment.ANSWERED, is_request)
        await federation.killed_during(federation.client.ask(minimal_request()), gates)
        assert sum((await federation.holds()).values()) > 0
        for gate in gates:
            gate.lose()
        await federation.restart()
        await federation.comes_to_rest([])
        assert federation.ran() == set()


async def test_offers_that_were_handed_out_can_be_accepted_after_a_crash(
    nursery: Nursery, tmp_path: Path
) -> None:
    async with killable_federation(nursery, tmp_path, expires_s=8) as federation:
        answer = await ask(federation)
        offers = offers_of(answer)
        await federation.gateway.kill()
        await federation.restart()
        path = f"/offersets/{answer.document['meta']['uuid']}"
        again = await federation.client.call("GET", path)
        assert again.document == answer.document
        uuid = offers[0]["meta"]["uuid"]
        assert (await federation.client.move(uuid, "ACCEPTED")).status == 200
        last = await federation.comes_to_rest(offers)
        assert last.pop(uuid) == "COMPLETED"
        assert set(last.values()) == {"REJECTED"}
        assert federation.ran() == {uuid}


async def test_offers_that_nobody_accepts_expire_although_the_gateway_was_away(
    nursery: Nursery,
    tmp_path: Path,
) -> None:
    async with killable_federation(nursery, tmp_path) as federation:
        offers = offers_of(await ask(federation))
        await federation.gateway.kill()
        await federation.restart()
        last = await federation.comes_to_rest(offers)
        assert set(last.values()) == {"EXPIRED"}
        assert federation.ran() == set()


# -- accepting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "is_lost"),
    [
        pytest.param(Moment.ASKED, True, id="before-the-node-was-told"),
        pytest.param(Moment.ASKED, False, id="before-the-node-heard-it"),
        pytest.param(Moment.ANSWERED, True, id="before-the-answer-came"),
        pytest.param(Moment.PASSED_ON, True, id="when-the-answer-came"),
    ],
)
async def test_an_acceptance_cut_short_comes_true_once_and_keeps_others_from_being_accepted(
    nursery: Nursery, tmp_path: Path, moment: Moment, is_lost: bool
) -> None:
    async with killable_federation(nursery, tmp_path, expires_s=8) as federation:
        offers = offers_of(await ask(federation))
        best, other = offers[0], elsewhere(offers, offers[0])
        uuid = best["meta"]["uuid"]
        gates = federation.stop_at(moment, is_update_of(uuid), best["federation"]["node"])
        await federation.killed_during(federation.client.move(uuid, "ACCEPTED"), gates)
        if is_lost:
            gates[0].lose()
        await federation.restart()
        second = await federation.client.move(
            other["meta"]["uuid"], "ACCEPTED", Prefer="handling=strict"
        )
        assert second.status == 409, second.text
        gates[0].open()
        for proxy in federation.proxies.values():
            proxy.remove_gates()
        again = await federation.client.move(uuid, "ACCEPTED")
        assert again.status == 200, again.text
        last = await federation.comes_to_rest(offers)
        assert last.pop(uuid) == "COMPLETED"
        assert set(last.values()) == {"REJECTED"}
        assert federation.ran() == {uuid}


async def test_an_acceptance_cut_short_comes_true_although_the_client_never_comes_back(
    nursery: Nursery,
    tmp_path: Path,
) -> None:
    async with killable_federation(nursery, tmp_path, expires_s=8) as federation:
        offers = offers_of(await ask(federation))
        uuid = offers[0]["meta"]["uuid"]
        gates = federation.stop_at(Moment.ASKED, is_update_of(uuid))
        await federation.killed_during(
            federation.client.move(uuid, "ACCEPTED"), _of(gates, offers[0])
        )
        federation.lose_all(gates)
        await federation.restart()

        async def has_run() -> bool:
            return federation.ran() == {uuid}

        await eventually(has_run, 10)
        last = await federation.comes_to_rest(offers)
        assert last[uuid] == "COMPLETED"
        assert federation.ran() == {uuid}


async def test_an_acceptance_cut_short_that_comes_too_late_ends_as_expired(
    nursery: Nursery,
    tmp_path: Path,
) -> None:
    async with killable_federation(nursery, tmp_path, expires_s=2) as federation:
        offers = offers_of(await ask(federation))
        uuid = offers[0]["meta"]["uuid"]
        gates = federation.stop_at(Moment.ASKED, is_update)
        await federation.killed_during(
            federation.client.move(uuid, "ACCEPTED"), _of(gates, offers[0])
        )
        for gate in gates:
            gate.lose()

        async def is_free() -> bool:
            return set((await federation.holds()).values()) == {0}

        await eventually(is_free)
        for proxy in federation.proxies.values():
            proxy.remove_gates()
        await federation.restart()
        last = await federation.comes_to_rest(offers)
        assert set(last.values()) == {"EXPIRED"}
        assert federation.ran() == set()


async def test_rejects_cut_short_are_carried_out_after_a_crash(
    nursery: Nursery, tmp_path: Path
) -> None:
    async with killable_federation(nursery, tmp_path, expires_s=60) as federation:
        offers = offers_of(await ask(federation))
        best, other = offers[0], elsewhere(offers, offers[0])
        uuid = best["meta"]["uuid"]
        gates = federation.stop_at(Moment.ASKED, is_update, other["federation"]["node"])
        answer = await federation.killed_during(federation.client.move(uuid, "ACCEPTED"), gates)
        federation.lose_all(gates)
        await federation.restart()
        # Offers live for a minute here: only a reject can have let these go so early.
        last = await federation.comes_to_rest(offers)
        assert last.pop(uuid) == "COMPLETED"
        assert set(last.values()) == {"REJECTED"}
        assert federation.ran() == {uuid}
        assert answer is None or answer.status == 200


# -- executing and cancelling ---------------------------------------------------------------------


async def test_a_session_that_runs_is_followed_to_its_end_after_a_crash(
    nursery: Nursery, tmp_path: Path
) -> None:
    slow = SimulatedSettings(prepare_s=0, run_s=1.0, release_s=0.01)
    async with killable_federation(nursery, tmp_path, platform=slow, expires_s=8) as federation:
        offers = offers_of(await ask(federation))
        uuid = offers[0]["meta"]["uuid"]
        await federation.client.move(uuid, "ACCEPTED")
        await becomes(federation.client, uuid, "RUNNING")
        await federation.gateway.kill()
        await federation.restart()
        last = await federation.comes_to_rest(offers)
        assert last[uuid] == "COMPLETED"
        assert federation.ran() == {uuid}


@pytest.mark.parametrize("moment", [Moment.ASKED, Moment.ANSWERED])
async def test_a_cancel_cut_short_is_carried_out_after_a_crash(
    nursery: Nursery, tmp_path: Path, moment: Moment
) -> None:
    async with killable_federation(nursery, tmp_path, platform=RUNS_ON, expires_s=8) as federation:
        offers = offers_of(await ask(federation))
        uuid = offers[0]["meta"]["uuid"]
        await federation.client.move(uuid, "ACCEPTED")
        await becomes(federation.client, uuid, "RUNNING")
        gates = federation.stop_at(moment, is_update_of(uuid))
        await federation.killed_during(
            federation.client.move(uuid, "CANCELLED"), _of(gates, offers[0])
        )
        federation.lose_all(gates)
        await federation.restart()
        last = await federation.comes_to_rest(offers)
        assert last[uuid] == "CANCELLED"
        node = federation.nodes[offers[0]["federation"]["node"]]
        assert (await node.session(uuid))["phase"] == "CANCELLED"


# -- directly -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "applies_to"),
    [
        pytest.param(Moment.ANSWERED, is_request, id="before-the-offers-came"),
        pytest.param(Moment.ASKED, is_update, id="before-the-node-was-told"),
        pytest.param(Moment.ANSWERED, is_update, id="before-the-acceptance-came"),
        pytest.param(Moment.PASSED_ON, is_update, id="when-the-acceptance-came"),
    ],
)
async def test_a_direct_request_cut_short_executes_once_when_it_is_sent_again(
    nursery: Nursery, tmp_path: Path, moment: Moment, applies_to: Applies
) -> None:
    async with killable_federation(nursery, tmp_path, expires_s=8) as federation:
        gates = federation.stop_at(moment, applies_to)
        before = await federation.killed_during(direct(federation), gates, at_first=True)
        federation.lose_all(gates)
        await federation.restart()
        answer = await direct(federation)
        assert answer.status == 303, answer.text
        uuid = answer.document["meta"]["uuid"]
        if before is not None:
            assert before.document["meta"]["uuid"] == uuid
        last = await federation.comes_to_rest([answer.document])
        assert last == {uuid: "COMPLETED"}
        assert federation.ran() == {uuid}


def _of(gates: list[Gate], offer: Document) -> list[Gate]:
    return [gates[NODES.index(offer["federation"]["node"])]]


async def becomes(gateway: GatewayUnderTest, uuid: str, phase: str) -> None:
    async def look() -> bool:
        return bool((await gateway.read(uuid))["phase"] == phase)

    await eventually(look, SETTLED_S)
