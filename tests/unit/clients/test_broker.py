"""The client of one node: what is sent, and what is believed of the answers."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.clients.broker import BrokerClient, CallContext
from gateway.clients.exchange import (
    NodeGarbageError,
    NodeSessionUnknownError,
    NodeStatusError,
    NodeTimeoutError,
)
from gateway.clients.transport import AiohttpTransport
from gateway.domain.node import (
    BasicCredentials,
    BearerCredentials,
    NoCredentials,
    NodeCredentials,
    NodeProfile,
    PassThroughCredentials,
)
from gateway.domain.reasons import ReasonCode
from gateway.wire.phases import SessionPhase
from gateway.wire.secret import Secret
from tests.support import faulty_nodes as nodes


def soon(wait_s: float = 2.0) -> float:
    return asyncio.get_running_loop().time() + wait_s


@asynccontextmanager
async def client_of(
    behaviour: nodes.Behaviour, credentials: NodeCredentials | None = None
) -> AsyncIterator[tuple[BrokerClient, nodes.FaultyNode]]:
    async with nodes.running(behaviour) as node, AiohttpTransport() as transport:
        profile = NodeProfile("alpha", node.url + "/", credentials=credentials or NoCredentials())
        yield BrokerClient(profile, transport), node


def answering(documents: dict[str, tuple[str, bytes]]) -> nodes.Behaviour:
    async def behave(asked: nodes.Asked, writer: asyncio.StreamWriter) -> None:
        status, body = documents.get(asked.path, ("404 Not Found", b""))
        writer.write(nodes.http_reply(body, status=status))

    return behave


async def test_a_request_carries_everything_the_node_needs_to_know() -> None:
    call = CallContext(
        "r1", None, "k1", ("https://a", "https://b"), query={"limit": "3", "x": "a b"}
    )
    async with client_of(nodes.healthy()) as (client, node):
        await client.request_offers(b'{"x": 1}', call, deadline=soon(0.5), until=soon())
    (asked,) = node.asked
    assert (asked.method, asked.path, asked.body) == (
        "POST",
        "/requests?limit=3&x=a+b",
        b'{"x": 1}',
    )
    budget_ms = int(asked.headers.pop("federation-budget-ms"))
    assert 400 < budget_ms <= 500
    expected = {
        "content-type": "application/json",
        "accept": "application/json",
        "x-request-id": "r1",
        "idempotency-key": "k1",
        "federation-path": "https://a, https://b",
    }
    assert expected.items() <= asked.headers.items()
    assert "authorization" not in asked.headers


BASIC = "Basic " + base64.b64encode("head:pä:ss".encode()).decode()


@pytest.mark.parametrize(
    ("credentials", "caller", "sent"),
    [
        (NoCredentials(), "Basic abc", None),
        (BasicCredentials("head", Secret("pä:ss")), "Basic abc", BASIC),
        (BearerCredentials(Secret("tok")), "Basic abc", "Bearer tok"),
        (PassThroughCredentials(), "Basic abc", "Basic abc"),
        (PassThroughCredentials(), None, None),
    ],
)
async def test_the_node_is_told_who_asks(
    credentials: NodeCredentials, caller: str | None, sent: str | None
) -> None:
    async with client_of(nodes.healthy(), credentials) as (client, node):
        call = CallContext(authorization=caller)
        await client.request_offers(b"{}", call, deadline=soon(), until=soon())
    assert node.asked[0].headers.get("authorization") == sent


@pytest.mark.parametrize(
    "thing",
    [
        BasicCredentials("head", Secret("secret")),
        BearerCredentials(Secret("secret")),
        CallContext(authorization="Basic secret"),
        NodeProfile("a", "http://a", credentials=BasicCredentials("head", Secret("secret"))),
    ],
)
def test_secrets_are_not_in_a_repr(thing: object) -> None:
    assert "secret" not in repr(thing)


@pytest.mark.parametrize("status", ["200 OK", "303 See Other"])
async def test_offers_are_read_from_either_status(status: str) -> None:
    body = nodes.healthy_answer(2)
    async with client_of(nodes.answers_status(status, body)) as (client, _):
        reply = await client.request_offers(b"{}", CallContext(), deadline=soon(), until=soon())
    assert reply.result == "YES"
    sent = json.loads(body)["offers"]
    assert [json.loads(offer.raw) for offer in reply.offers] == sent
    assert [str(offer.view.uuid) for offer in reply.offers] == [o["meta"]["uuid"] for o in sent]


@pytest.mark.parametrize("status", ["201 Created", "302 Found", "400 Bad Request", "503 Busy"])
async def test_any_other_status_is_a_failure_with_its_problem(status: str) -> None:
    problem = b'{"title": "no", "status": 503}'
    async with client_of(nodes.answers_status(status, problem)) as (client, _):
        with pytest.raises(NodeStatusError) as caught:
            await client.request_offers(b"{}", CallContext(), deadline=soon(), until=soon())
    assert caught.value.status == int(status[:3])
    assert caught.value.problem == json.loads(problem)
    assert caught.value.reason.code is ReasonCode.ERROR_STATUS


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b'{"a": "' + b"x" * (16 << 10) + b'"}'])
async def test_a_failure_without_a_readable_problem_is_still_a_failure(body: bytes) -> None:
    async with client_of(nodes.answers_status("500 Oops", body)) as (client, _):
        with pytest.raises(NodeStatusError) as caught:
            await client.request_offers(b"{}", CallContext(), deadline=soon(), until=soon())
    assert caught.value.problem is None


async def test_credentials_are_not_sent_where_a_redirect_points() -> None:
    other_asked: list[nodes.Asked]
    async with nodes.running(nodes.healthy()) as other:
        redirect = nodes.http_reply(b"", headers=f"Location: {other.url}/offersets/1\r\n")

        async def behave(asked: nodes.Asked, writer: asyncio.StreamWriter) -> None:
            del asked
            writer.write(redirect)

        async with client_of(behave, BearerCredentials(Secret("tok"))) as (client, _):
            with pytest.raises(NodeGarbageError):
                await client.request_offers(b"{}", CallContext(), deadline=soon(), until=soon())
        other_asked = other.asked
    assert other_asked == []


async def test_a_session_is_read_with_its_own_bytes() -> None:
    document = nodes.offer_document()
    uuid = UUID(document["meta"]["uuid"])
    raw = json.dumps(document | {"extra": {"kept": True}}).encode()
    async with client_of(answering({f"/sessions/{uuid}": ("200 OK", raw)})) as (client, _):
        reply = await client.read_session(uuid, CallContext(), deadline=soon())
    assert reply.raw == raw
    assert reply.view.phase is SessionPhase.OFFERED


async def test_a_session_the_node_does_not_know_has_its_own_error() -> None:
    async with client_of(answering({})) as (client, _):
        with pytest.raises(NodeSessionUnknownError):
            await client.read_session(uuid4(), CallContext(), deadline=soon())


async def test_another_session_than_asked_for_is_not_believed() -> None:
    uuid = uuid4()
    raw = json.dumps(nodes.offer_document()).encode()
    async with client_of(answering({f"/sessions/{uuid}": ("200 OK", raw)})) as (client, _):
        with pytest.raises(NodeGarbageError):
            await client.read_session(uuid, CallContext(), deadline=soon())


async def test_an_update_is_sent_as_the_contract_says_and_answered_by_the_phase() -> None:
    async with client_of(nodes.answers_unchanged_to_accept()) as (client, node):
        offers = await client.request_offers(b"{}", CallContext(), deadline=soon(), until=soon())
        uuid = offers.offers[0].view.uuid
        reply = await client.update_phase(
            uuid, SessionPhase.ACCEPTED, CallContext(), deadline=soon()
        )
        asked = node.asked[-1]
    assert reply.view.phase is SessionPhase.OFFERED, "the node refused in silence"
    assert (asked.method, asked.path) == ("POST", f"/sessions/{uuid}")
    assert json.loads(asked.body) == {
        "kind": "uri:enum-value-update",
        "path": "phase",
        "value": "ACCEPTED",
    }


async def test_an_ending_is_asked_for_alike_and_nothing_but_the_phase_is_looked_at() -> None:
    uuid = uuid4()
    shown = {"meta": {"uuid": str(uuid)}, "phase": "REJECTED", "kind": "urn:new", "expires": 7}
    raw = json.dumps(shown).encode()
    async with client_of(answering({f"/sessions/{uuid}": ("200 OK", raw)})) as (client, node):
        phase = await client.end(uuid, SessionPhase.REJECTED, CallContext(), deadline=soon())
        asked = node.asked[-1]
    assert phase is SessionPhase.REJECTED
    assert (asked.method, json.loads(asked.body)["value"]) == ("POST", "REJECTED")


@pytest.mark.parametrize(
    "changes",
    [{"phase": "GONE"}, {"phase": None}, {"meta": {}}, {"meta": {"uuid": str(uuid4())}}],
)
async def test_an_ending_without_a_phase_of_that_session_is_not_believed(
    changes: dict[str, Any],
) -> None:
    uuid = uuid4()
    shown = {"meta": {"uuid": str(uuid)}, "phase": "REJECTED"} | changes
    raw = json.dumps(shown).encode()
    async with client_of(answering({f"/sessions/{uuid}": ("200 OK", raw)})) as (client, _):
        with pytest.raises(NodeGarbageError):
            await client.end(uuid, SessionPhase.REJECTED, CallContext(), deadline=soon())


async def test_an_ending_at_a_node_that_knows_no_such_session_says_so() -> None:
    async with client_of(answering({})) as (client, _):
        with pytest.raises(NodeSessionUnknownError):
            await client.end(uuid4(), SessionPhase.CANCELLED, CallContext(), deadline=soon())


async def test_a_call_ends_at_its_deadline() -> None:
    async with client_of(nodes.hangs_before_headers) as (client, _):
        with pytest.raises(NodeTimeoutError):
            await client.read_session(uuid4(), CallContext(), deadline=soon(0.05))


@pytest.mark.parametrize(
    ("documents", "is_up", "probed"),
    [
        ({"/readyz": ("200 OK", b"{}")}, True, "/readyz"),
        ({"/readyz": ("503 Not Ready", b"{}")}, False, "/readyz"),
        ({"/actuator/health": ("200 OK", b'{"status":"UP"}')}, True, "/actuator/health"),
        ({"/actuator/health": ("503 Down", b'{"status":"DOWN"}')}, False, "/actuator/health"),
    ],
)
async def test_a_probe_asks_our_own_page_and_then_the_upstream_one(
    documents: dict[str, tuple[str, bytes]], *, is_up: bool, probed: str
) -> None:
    async with client_of(answering(documents)) as (client, _):
        health = await client.probe(CallContext(), deadline=soon())
    assert (health.is_up, health.probed) == (is_up, probed)
