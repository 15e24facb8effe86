"""Webhooks: made by their owner, called with each event in order, given up when all fails."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gateway.settings import WebhookSettings
from gateway.wire.documents import Document
from gateway.wire.secret import Secret
from tests.api.gateway.test_events import END, accepted
from tests.support.event_streams import PREFIX, kinds
from tests.support.gateway import Answer, GatewayUnderTest, running_gateway
from tests.support.node import ALICE, BOB, NOBODY, NodeClient, node_settings, running_node
from tests.support.requests import minimal_request
from tests.support.stores import Store
from tests.support.waiting import eventually, until
from tests.support.webhook_receiver import Receiver, running_receiver

KEY = Secret("0123456789abcdef" * 2)
QUICK = WebhookSettings(allow_private=True, first_s=0.05, longest_s=0.1, deadline_s=2.0)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with running_receiver() as running:
        yield running


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[NodeClient]:
    async with running_node(tmp_path, node_settings()) as running:
        yield running


@asynccontextmanager
async def gateway_for(
    receiver: Receiver, node: NodeClient, at: Path, **changes: Any
) -> AsyncIterator[GatewayUnderTest]:
    """A gateway that may call the receiver."""
    webhooks = replace(QUICK, **{"allow": (receiver.url,)} | changes)
    async with running_gateway(
        {"alpha": node.url}, at, secret_key=KEY, webhooks=webhooks
    ) as gateway:
        yield gateway


async def hooked(gateway: GatewayUnderTest, receiver: Receiver, *events: str) -> Document:
    """A webhook of Alice's that leads to the receiver."""
    wanted: Document = {"url": f"{receiver.url}/hook", "events": list(events)}
    answer = await gateway.call("POST", "/webhooks", wanted, account=ALICE)
    assert answer.status == 201, answer.text
    receiver.secret = answer.document["secret"]
    made: Document = answer.document
    return made


async def made(gateway: GatewayUnderTest, url: str) -> Answer:
    return await gateway.call("POST", "/webhooks", {"url": url}, account=ALICE)


async def shown(gateway: GatewayUnderTest, hook: Document) -> Document:
    answer = await gateway.call("GET", f"/webhooks/{hook['uuid']}", account=ALICE)
    assert answer.status == 200, answer.text
    document: Document = answer.document
    return document


async def calls(gateway: GatewayUnderTest, hook: Document) -> list[Document]:
    path = f"/webhooks/{hook['uuid']}/deliveries"
    answer = await gateway.call("GET", path, account=ALICE)
    assert answer.status == 200, answer.text
    found: list[Document] = answer.document["deliveries"]
    return found


async def test_every_event_of_its_owner_is_sent_once_in_order_and_signed(
    receiver: Receiver, node: NodeClient, tmp_path: Path
) -> None:
    async with gateway_for(receiver, node, tmp_path / "g") as gateway:
        hook = await hooked(gateway, receiver)
        his = await accepted(gateway, account=BOB)
        hers = await accepted(gateway, account=ALICE)
        await until(lambda: END in kinds(receiver.events), 10)
        listed = (await gateway.call("GET", "/events?limit=1000", account=ALICE)).document
        assert [event["data"]["offerset"] for event in receiver.events].count(his["offerset"]) == 0
        assert hers["offerset"] in {event["data"]["offerset"] for event in receiver.events}
        assert receiver.events == listed["events"]
        assert len(set(receiver.ids)) == len(receiver.ids)
        assert receiver.faults == []
        assert {call["status"] for call in await calls(gateway, hook)} == {204}


async def test_only_the_wanted_types_are_sent(
    receiver: Receiver, node: NodeClient, tmp_path: Path
) -> None:
    async with gateway_for(receiver, node, tmp_path / "g") as gateway:
        await hooked(gateway, receiver, "session.phase.completed", PREFIX + "offerset.*")
        await accepted(gateway, account=ALICE)
        await until(lambda: END in kinds(receiver.events), 10)
    assert kinds(receiver.events) == ["offerset.offered", END]


async def test_what_is_not_taken_is_sent_again_and_what_follows_waits(
    receiver: Receiver, node: NodeClient, tmp_path: Path
) -> None:
    receiver.statuses = [500, 302, 204, 503, 204]
    async with gateway_for(receiver, node, tmp_path / "g") as gateway:
        hook = await hooked(gateway, receiver)
        await accepted(gateway, account=ALICE)
        await until(lambda: END in kinds(receiver.events), 15)
        noted = list(reversed(await calls(gateway, hook)))
    assert receiver.ids[0] == receiver.ids[1] == receiver.ids[2] != receiver.ids[3]
    assert receiver.ids[3] == receiver.ids[4]
    assert receiver.positions() == sorted(set(receiver.positions()))
    assert [call["status"] for call in noted[:5]] == [500, 302, 204, 503, 204]
    assert [call["attempt"] for call in noted[:5]] == [1, 2, 3, 1, 2]
    assert receiver.faults == []


async def test_a_webhook_that_fails_for_too_long_is_disabled_and_its_owner_told(
    receiver: Receiver, node: NodeClient, tmp_path: Path
) -> None:
    receiver.statuses = [500]
    async with gateway_for(receiver, node, tmp_path / "g", give_up_s=0.2) as gateway:
        hook = await hooked(gateway, receiver)
        await accepted(gateway, account=ALICE)

        async def is_disabled() -> bool:
            return bool((await shown(gateway, hook))["disabled"])

        await eventually(is_disabled, 10)
        assert (await shown(gateway, hook))["last_error"] == "answered with status 500"
        count = len(receiver.ids)

        async def is_told() -> bool:
            path = "/events?type=gateway.webhook-disabled"
            return bool((await gateway.call("GET", path, account=ALICE)).document["events"])

        await eventually(is_told, 5)
        assert len(receiver.ids) == count


async def test_a_webhook_that_says_it_is_gone_is_disabled_at_once(
    receiver: Receiver, node: NodeClient, tmp_path: Path
) -> None:
    receiver.statuses = [410]
    async with gateway_for(receiver, node, tmp_path / "g") as gateway:
        hook = await hooked(gateway, receiver)
        await accepted(gateway, account=ALICE)

        async def is_disabled() -> bool:
            return bool((await shown(gateway, hook))["disabled"])

        await eventually(is_disabled, 10)
    assert len(receiver.ids) == 1


async def test_a_webhook_goes_on_where_it_was_after_a_restart(
    receiver: Receiver, node: NodeClient, tmp_path: Path
) -> None:
    receiver.statuses = [204, 500]
    async with gateway_for(receiver, node, tmp_path / "g") as gateway:
        await hooked(gateway, receiver)
        session = await accepted(gateway, account=ALICE)
        await until(lambda: len(receiver.ids) > 2, 10)
    receiver.statuses = [204]
    async with gateway_for(receiver, node, tmp_path / "g") as gateway:
        await until(lambda: END in kinds(receiver.events), 15)
        path = f"/offersets/{session['offerset']}/events"
        assert receiver.events == (await gateway.call("GET", path)).document["events"]


async def test_two_gateways_on_one_database_tell_a_webhook_once(
    receiver: Receiver, node: NodeClient, tmp_path: Path
) -> None:
    async with (
        gateway_for(receiver, node, tmp_path / "g") as gateway,
        gateway_for(receiver, node, tmp_path / "g") as other,
    ):
        await hooked(gateway, receiver)
        for each in (gateway, other, gateway):
            await accepted(each, account=ALICE)
        await until(lambda: kinds(receiver.events).count(END) == 3, 15)
    assert receiver.positions() == sorted(set(receiver.positions()))


async def test_its_secret_is_shown_once_and_its_target_kept_sealed(
    receiver: Receiver, node: NodeClient, tmp_path: Path, store: Store
) -> None:
    async with gateway_for(receiver, node, tmp_path / "g") as gateway:
        hook = await hooked(gateway, receiver)
        again = await shown(gateway, hook)
        assert hook.pop("secret") == receiver.secret
        assert again == hook
        listed = await gateway.call("GET", "/webhooks", account=ALICE)
        assert listed.document == {"webhooks": [hook]}
        async with store.opened(tmp_path / "g") as database, database.reading() as reader:
            rows = await reader.fetch("SELECT * FROM webhooks")
        kept = b" ".join(bytes(row["target"]) for row in rows)
        assert receiver.secret.encode() not in kept
        assert b"127.0.0.1" not in kept


async def test_a_webhook_is_its_owners_alone_and_can_be_removed(
    receiver: Receiver, node: NodeClient, tmp_path: Path
) -> None:
    async with gateway_for(receiver, node, tmp_path / "g") as gateway:
        path = f"/webhooks/{(await hooked(gateway, receiver))['uuid']}"
        assert (await gateway.call("GET", "/webhooks", account=BOB)).document == {"webhooks": []}
        for method, below in (("GET", ""), ("GET", "/deliveries"), ("DELETE", "")):
            assert (await gateway.call(method, path + below, account=BOB)).status == 404
            assert (await gateway.call(method, path + below, account=NOBODY)).status == 401
        assert (await gateway.call("GET", "/webhooks", account=NOBODY)).status == 401
        assert (await gateway.call("DELETE", path, account=ALICE)).status == 204
        assert (await gateway.call("DELETE", path, account=ALICE)).status == 404
        await accepted(gateway, account=ALICE)
    assert receiver.ids == []


async def test_whose_access_is_revoked_is_told_nothing_until_it_is_given_back(
    receiver: Receiver, node: NodeClient, tmp_path: Path
) -> None:
    async with gateway_for(receiver, node, tmp_path / "g") as gateway:
        hook = await hooked(gateway, receiver)
        alice = await gateway.call("GET", "/admin/identities?limit=1")
        path = f"/admin/identities/{alice.document['identities'][0]['uuid']}"
        offers = (await gateway.ask(minimal_request(), account=ALICE)).document
        await until(lambda: kinds(receiver.events) == ["offerset.offered"], 10)
        assert (await gateway.call("PATCH", path, {"revoked": True})).status == 200
        before = list(receiver.ids)
        for offer in offers["offers"]:
            assert (await gateway.move(offer["meta"]["uuid"], "REJECTED")).status == 200
        below = f"/webhooks/{hook['uuid']}"

        async def is_held_back() -> bool:
            said: str | None = (await gateway.call("GET", below)).document["last_error"]
            return said == "its owner may not read here any more"

        await eventually(is_held_back, 10)
        assert receiver.ids == before
        assert (await gateway.call("PATCH", path, {"revoked": False})).status == 200
        await until(lambda: "session.phase.rejected" in kinds(receiver.events), 10)
        assert receiver.faults == []


async def test_the_webhook_of_somebody_who_was_removed_is_given_up(
    receiver: Receiver, node: NodeClient, tmp_path: Path
) -> None:
    async with gateway_for(receiver, node, tmp_path / "g", give_up_s=0.2) as gateway:
        hook = await hooked(gateway, receiver)
        offers = (await gateway.ask(minimal_request(), account=ALICE)).document
        await until(lambda: kinds(receiver.events) == ["offerset.offered"], 10)
        alice = await gateway.call("GET", "/admin/identities?limit=1")
        uuid = alice.document["identities"][0]["uuid"]
        assert (await gateway.call("DELETE", f"/admin/identities/{uuid}")).status == 204
        before = list(receiver.ids)
        await gateway.move(offers["offers"][0]["meta"]["uuid"], "REJECTED")

        async def is_disabled() -> bool:
            return bool(
                (await gateway.call("GET", f"/webhooks/{hook['uuid']}")).document["disabled"]
            )

        await eventually(is_disabled, 10)
        assert receiver.ids == before


async def test_one_owner_has_so_many_webhooks(
    receiver: Receiver, node: NodeClient, tmp_path: Path
) -> None:
    async with gateway_for(receiver, node, tmp_path / "g", per_owner=1) as gateway:
        await hooked(gateway, receiver)
        assert (await made(gateway, f"{receiver.url}/hook")).status == 409


async def test_only_what_the_operator_allows_is_called(
    receiver: Receiver, node: NodeClient, tmp_path: Path
) -> None:
    async with gateway_for(receiver, node, tmp_path / "g") as gateway:
        for url in ("https://elsewhere.example.org/", "http://127.0.0.1:1/", "ftp://x/", "x"):
            answer = await made(gateway, url)
            assert (answer.status, answer.document["type"]) == (
                403,
                "https://execbroker.dev/problems/webhook-refused",
            )
        assert "webhooks.allow" in (await made(gateway, "https://else.example.org/")).text


async def test_without_a_key_there_are_no_webhooks(node: NodeClient, tmp_path: Path) -> None:
    async with running_gateway({"alpha": node.url}, tmp_path / "g") as gateway:
        answer = await made(gateway, "https://hooks.example.org/")
        assert answer.status == 403
        assert "secret_key_env" in answer.document["detail"]
        assert (await gateway.call("GET", f"/webhooks/{uuid4()}")).status == 404


async def test_a_private_address_is_not_called_unless_allowed(
    receiver: Receiver, node: NodeClient, tmp_path: Path
) -> None:
    async with gateway_for(receiver, node, tmp_path / "g", allow_private=False) as gateway:
        hook = await hooked(gateway, receiver)
        await accepted(gateway, account=ALICE)

        async def is_refused() -> bool:
            return "private" in ((await shown(gateway, hook))["last_error"] or "")

        await eventually(is_refused, 10)
    assert receiver.ids == []
