"""How much an owner, and a group together, may hold: exact, whoever else asks at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from gateway.api.requests import OFFERS
from gateway.api.sessions import UPDATES
from gateway.domain.permissions import Limits, Permissions, Rule
from gateway.errors import OfferQuotaError, SessionQuotaError
from gateway.services.caller import Caller
from gateway.services.offers import OfferSetReading
from gateway.services.planning import OfferQuestion
from gateway.stores.quotas import QuotaStore
from gateway.wire.documents import Document
from gateway.wire.phases import SessionPhase
from tests.api.gateway.conftest import Federation, holds_of, running_federation
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.node import ADMIN, ALICE, BOB
from tests.support.requests import minimal_request
from tests.support.stores import Store
from tests.support.waiting import eventually

LONG: Final = {"schedule": {"requested": {"duration": "PT4H"}}}
"""Long enough to be live until the end of any test."""


def everyone(**limits: int) -> Permissions:
    return Permissions(everyone=Rule(limits=Limits(**limits)))


def together(**limits: int) -> Permissions:
    """A limit on what all astronomers hold together."""
    return Permissions(groups={"astronomers": Rule(shared=Limits(**limits))})


@asynccontextmanager
async def limited(
    tmp_path: Path, permissions: Permissions, **more: Any
) -> AsyncIterator[Federation]:
    """One node that makes two offers for each request, and its gateway."""
    async with running_federation(
        tmp_path, ("alpha",), permissions=permissions, **more
    ) as federation:
        yield federation


def code_of(document: Document) -> str:
    (why,) = document["reasons"]
    code: str = why["code"]
    return code


async def all_let_go(federation: Federation, but: int) -> None:
    """Wait until the node holds no more than what was handed out."""

    async def look() -> bool:
        return await holds_of(federation.nodes["alpha"]) == but

    await eventually(look)


async def test_a_request_gets_what_there_is_room_for_and_the_next_is_refused(
    tmp_path: Path,
) -> None:
    async with limited(tmp_path, everyone(offers=3)) as federation:
        gateway = federation.gateway
        first = await gateway.ask(minimal_request(), "?limit=2", account=ALICE)
        assert len(first.document["offers"]) == 2
        second = await gateway.ask(minimal_request(), account=ALICE)
        assert len(second.document["offers"]) == 1
        said = [message["kind"] for message in second.document["meta"]["messages"]]
        assert "urn:execbroker:reason:limited_by_quota" in said
        refused = await gateway.ask(minimal_request(), account=ALICE)
        assert refused.status == 409, refused.text
        assert refused.document["type"].endswith("/offer-quota")
        assert code_of(refused.document) == "quota_offers"
        assert refused.document["reasons"][0]["values"]["limit"] == "3"
        # Nodes hold offers for five minutes, up to the next full second.
        assert 1 <= int(refused.headers["Retry-After"]) <= 301
        assert (await gateway.ask(minimal_request(), account=BOB)).status == 303
        assert (await gateway.ask(minimal_request(), account=ADMIN)).status == 303


async def test_there_is_room_again_once_an_offer_was_let_go(tmp_path: Path) -> None:
    async with limited(tmp_path, everyone(offers=1)) as federation:
        gateway = federation.gateway
        (offer,) = (await gateway.ask(minimal_request(), account=ALICE)).document["offers"]
        assert (await gateway.ask(minimal_request(), account=ALICE)).status == 409
        await gateway.move(offer["meta"]["uuid"], "REJECTED", account=ALICE)
        assert (await gateway.ask(minimal_request(), account=ALICE)).status == 303


async def test_who_asks_again_needs_no_room_beside_what_is_let_go_for_it(tmp_path: Path) -> None:
    async with limited(tmp_path, everyone(offers=2)) as federation:
        gateway = federation.gateway
        asked = await gateway.ask(minimal_request(), account=ALICE)
        assert len(asked.document["offers"]) == 2
        again = await gateway.call(
            "PATCH",
            f"/offersets/{asked.document['meta']['uuid']}/request",
            {"schedule": {"requested": {"duration": "PT2M"}}},
            account=ALICE,
        )
        assert again.status in {200, 303}, again.text
        assert len(again.document["offers"]) == 2
        assert (await gateway.ask(minimal_request(), account=ALICE)).status == 409
        await all_let_go(federation, but=2)


async def test_requests_at_the_same_time_share_the_last_places_and_leave_no_hold(
    tmp_path: Path,
) -> None:
    async with limited(tmp_path, everyone(offers=3)) as federation:
        answers = await asyncio.gather(
            *(federation.gateway.ask(minimal_request(), account=ALICE) for _ in range(5))
        )
        assert {answer.status for answer in answers} <= {303, 409}
        offers = sum(len(a.document["offers"]) for a in answers if a.status == 303)
        assert offers == 3
        await all_let_go(federation, but=3)


async def test_of_two_gateways_on_one_database_one_gets_the_last_place(tmp_path: Path) -> None:
    permissions = everyone(offers=1)
    async with (
        limited(tmp_path, permissions) as federation,
        running_gateway(
            {"alpha": federation.nodes["alpha"].url}, tmp_path / "gateway", permissions=permissions
        ) as other,
    ):
        for _ in range(3):
            answers = await asyncio.gather(
                *(
                    gateway.ask(minimal_request(), account=ALICE)
                    for gateway in (federation.gateway, other)
                    for _ in range(2)
                )
            )
            kept = [a.document["offers"] for a in answers if a.status == 303]
            assert [len(offers) for offers in kept] == [1]
            await other.move(kept[0][0]["meta"]["uuid"], "REJECTED", account=ALICE)


async def accept_all(gateways: list[GatewayUnderTest], offers: list[Document]) -> list[int]:
    """Accept every offer at the same time; the statuses."""
    answers = await asyncio.gather(
        *(
            gateway.move(offer["meta"]["uuid"], "ACCEPTED", account=ALICE, prefer="handling=strict")
            for gateway, offer in zip(gateways, offers, strict=True)
        )
    )
    return sorted(answer.status for answer in answers)


async def test_of_two_accepts_at_two_gateways_one_gets_the_last_session(tmp_path: Path) -> None:
    permissions = everyone(sessions=1)
    async with (
        limited(tmp_path, permissions) as federation,
        running_gateway(
            {"alpha": federation.nodes["alpha"].url}, tmp_path / "gateway", permissions=permissions
        ) as other,
    ):
        gateways = [federation.gateway, other]
        for _ in range(3):
            asked = [
                await gateway.ask(minimal_request(**LONG), account=ALICE) for gateway in gateways
            ]
            offers = [answer.document["offers"][0] for answer in asked]
            assert await accept_all(gateways, offers) == [200, 409]
            for offer in offers:
                await other.move(offer["meta"]["uuid"], "CANCELLED", account=ALICE)


async def test_an_accept_that_is_too_much_changes_nothing_and_says_why(tmp_path: Path) -> None:
    async with limited(tmp_path, everyone(sessions=1)) as federation:
        gateway = federation.gateway
        first = (await gateway.ask(minimal_request(**LONG), account=ALICE)).document["offers"][0]
        second = (await gateway.ask(minimal_request(**LONG), account=ALICE)).document["offers"][0]
        assert (await gateway.move(first["meta"]["uuid"], "ACCEPTED", account=ALICE)).status == 200
        # Asking twice is the same as asking once, also where there is no more room.
        again = await gateway.move(first["meta"]["uuid"], "ACCEPTED", account=ALICE)
        assert again.document["phase"] != "OFFERED"
        lenient = await gateway.move(second["meta"]["uuid"], "ACCEPTED", account=ALICE)
        assert lenient.status == 200
        assert lenient.document["phase"] == "OFFERED"
        assert "urn:quota-sessions" in [m["kind"] for m in lenient.document["meta"]["messages"]]
        strict = await gateway.move(
            second["meta"]["uuid"], "ACCEPTED", account=ALICE, prefer="handling=strict"
        )
        assert strict.status == 409
        assert code_of(strict.document) == "quota_sessions"
        await gateway.move(first["meta"]["uuid"], "CANCELLED", account=ALICE)
        assert (await gateway.move(second["meta"]["uuid"], "ACCEPTED", account=ALICE)).status == 200
        await federation.becomes_at_node(second, "WAITING", "PREPARING", "AVAILABLE", "RUNNING")


async def test_direct_execution_is_refused_before_any_node_is_asked(tmp_path: Path) -> None:
    async with limited(tmp_path, everyone(sessions=1)) as federation:
        gateway = federation.gateway
        key = {"idempotency_key": "the-first"}
        request = minimal_request(**LONG)
        first = await gateway.call("POST", "/direct", request, account=ALICE, **key)
        assert first.status == 303, first.text
        await all_let_go(federation, but=1)
        refused = await gateway.call("POST", "/direct", minimal_request(), account=ALICE)
        assert refused.status == 409, refused.text
        assert code_of(refused.document) == "quota_sessions"
        assert await holds_of(federation.nodes["alpha"]) == 1
        again = await gateway.call("POST", "/direct", request, account=ALICE, **key)
        assert again.document["meta"]["uuid"] == first.document["meta"]["uuid"]


async def ask_as(gateway: GatewayUnderTest, owner: str, **more: Any) -> OfferSetReading:
    """Ask as a member of the group, as a token would say it."""
    assert gateway.app is not None
    caller = Caller(owner=owner, groups=frozenset({"astronomers", "others"}))
    question = OfferQuestion(document=minimal_request(**LONG), path="/requests", **more)
    return await gateway.app[OFFERS].ask(question, caller)


async def test_the_members_of_a_group_share_its_offers(tmp_path: Path) -> None:
    async with limited(tmp_path, together(offers=3)) as federation:
        gateway = federation.gateway
        assert len((await ask_as(gateway, "carol", limit=2)).sessions) == 2
        assert len((await ask_as(gateway, "dan")).sessions) == 1
        with pytest.raises(OfferQuotaError, match="group astronomers holds 3 live offers"):
            await ask_as(gateway, "carol")
        assert (await gateway.ask(minimal_request(), account=ALICE)).status == 303


async def test_the_groups_that_rules_speak_of_are_kept_for_those_who_ask_again(
    tmp_path: Path, store: Store
) -> None:
    async with limited(tmp_path, together(offers=3)) as federation:
        reading = await ask_as(federation.gateway, "carol")
    async with store.opened(tmp_path / "gateway") as database, database.reading() as reader:
        assert await QuotaStore().groups_of(reader, reading.row.uuid) == {"astronomers"}


async def test_what_takes_the_place_of_something_lost_counts_against_nobody(
    tmp_path: Path,
) -> None:
    async with limited(tmp_path, everyone(offers=1, sessions=1)) as federation:
        app = federation.gateway.app
        assert app is not None
        question = OfferQuestion(document=minimal_request(**LONG), path="/requests")
        owner = Caller(owner="carol")
        stand_in = Caller(owner="carol", is_stand_in=True)
        for caller in (owner, stand_in):
            offer = (await app[OFFERS].ask(question, caller)).sessions[0].row.uuid
            reading = await app[UPDATES].update(offer, SessionPhase.ACCEPTED, caller)
            assert reading.row.phase is not SessionPhase.OFFERED
        with pytest.raises(SessionQuotaError):
            await app[OFFERS].ask(replace(question, accepts=True), owner)


async def test_the_members_of_a_group_share_its_sessions(tmp_path: Path) -> None:
    async with limited(tmp_path, together(sessions=1)) as federation:
        gateway = federation.gateway
        assert gateway.app is not None
        updates = gateway.app[UPDATES]

        async def accept(owner: str, uuid: UUID) -> None:
            caller = Caller(owner=owner, groups=frozenset({"astronomers"}))
            await updates.update(uuid, SessionPhase.ACCEPTED, caller)

        carols = (await ask_as(gateway, "carol")).sessions[0].row.uuid
        dans = (await ask_as(gateway, "dan")).sessions[0].row.uuid
        await accept("carol", carols)
        with pytest.raises(SessionQuotaError, match="group astronomers"):
            await accept("dan", dans)
        await gateway.move(str(carols), "CANCELLED")
        await accept("dan", dans)
