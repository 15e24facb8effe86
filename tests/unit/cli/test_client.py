"""The client class, against a canned broker."""

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.errors import (
    BrokerProblemError,
    BrokerUnavailableError,
    UnreadableAnswerError,
    UpdateRefusedError,
    WatchDeadlineError,
)
from gateway.wire.documents import Document
from gateway.wire.kinds import DOCKER_CONTAINER
from tests.support.canned_broker import FAST, USERNAME, CannedBroker

REQUEST: Document = {"executable": {"kind": DOCKER_CONTAINER}}


def first_offer(offerset: Document) -> UUID:
    return UUID(offerset["offers"][0]["meta"]["uuid"])


async def test_a_submit_gives_the_offer_set_of_the_303_body_without_a_second_call(
    client: ExecutionBrokerClient, broker: CannedBroker
) -> None:
    offerset = await client.request_offers(REQUEST)
    assert offerset["result"] == "YES"
    assert [(seen.method, seen.path) for seen in broker.seen] == [("POST", "/requests")]
    assert broker.seen[0].body == REQUEST
    assert await client.offerset(UUID(offerset["meta"]["uuid"])) == offerset


async def test_options_become_query_parameters_and_a_wait_becomes_a_preference(
    client: ExecutionBrokerClient, broker: CannedBroker
) -> None:
    await client.request_offers(
        REQUEST,
        limit=2,
        per_node=1,
        policy="greenest",
        nodes=["alpha", "beta"],
        min_offers=3,
        require=["beta"],
        wait_s=2.5,
        idempotency_key="mine",
    )
    (seen,) = broker.seen
    assert seen.query == {
        "limit": "2",
        "per_node": "1",
        "policy": "greenest",
        "nodes": "alpha,beta",
        "min_offers": "3",
        "require": "beta",
    }
    assert seen.headers["Prefer"] == "wait=2.5"
    assert seen.headers["Idempotency-Key"] == "mine"


async def test_options_that_are_not_given_are_not_sent(
    client: ExecutionBrokerClient, broker: CannedBroker
) -> None:
    await client.request_offers(REQUEST)
    assert broker.seen[0].query == {}
    assert "Prefer" not in broker.seen[0].headers


async def test_every_submit_has_its_own_idempotency_key(
    client: ExecutionBrokerClient, broker: CannedBroker
) -> None:
    await client.request_offers(REQUEST)
    await client.request_offers(REQUEST)
    assert len({seen.headers["Idempotency-Key"] for seen in broker.seen}) == 2


async def test_a_lost_connection_is_repeated_once_with_the_same_key_and_holds_nothing_twice(
    client: ExecutionBrokerClient, broker: CannedBroker
) -> None:
    broker.lose = 1
    offerset = await client.request_offers(REQUEST)
    assert len(broker.seen) == 2
    assert len({seen.headers["Idempotency-Key"] for seen in broker.seen}) == 1
    assert len(broker.offersets) == 1
    assert len(broker.sessions) == len(offerset["offers"])


async def test_a_connection_lost_twice_is_reported_and_not_tried_again(
    client: ExecutionBrokerClient, broker: CannedBroker
) -> None:
    broker.lose = 5
    with pytest.raises(BrokerUnavailableError, match="connection lost"):
        await client.request_offers(REQUEST)
    assert len(broker.seen) == 2


async def test_an_accept_whose_reply_is_lost_is_repeated(
    client: ExecutionBrokerClient, broker: CannedBroker
) -> None:
    uuid = first_offer(await client.request_offers(REQUEST))
    broker.lose = 1
    assert (await client.accept(uuid))["phase"] == "ACCEPTED"


async def test_an_accept_lets_the_siblings_go_and_twice_is_the_same_as_once(
    client: ExecutionBrokerClient,
) -> None:
    offerset = await client.request_offers(REQUEST)
    accepted = await client.accept(first_offer(offerset))
    assert await client.accept(first_offer(offerset)) == accepted
    siblings = [UUID(offer["meta"]["uuid"]) for offer in offerset["offers"][1:]]
    assert {(await client.session(uuid))["phase"] for uuid in siblings} == {"REJECTED"}


async def test_an_offer_can_be_rejected_and_a_session_cancelled(
    client: ExecutionBrokerClient,
) -> None:
    offerset = await client.request_offers(REQUEST)
    uuids = [UUID(offer["meta"]["uuid"]) for offer in offerset["offers"]]
    assert (await client.reject(uuids[1]))["phase"] == "REJECTED"
    await client.accept(uuids[0])
    assert (await client.cancel(uuids[0]))["phase"] == "CANCELLED"


async def test_a_refused_update_is_a_problem_with_its_reason(
    client: ExecutionBrokerClient, broker: CannedBroker
) -> None:
    uuid = first_offer(await client.request_offers(REQUEST))
    broker.refuse_accept = True
    with pytest.raises(BrokerProblemError, match="cannot be set to ACCEPTED") as caught:
        await client.accept(uuid)
    assert caught.value.status == 409


async def test_an_unchanged_session_with_status_200_is_a_refusal() -> None:
    session = {"phase": "OFFERED", "meta": {"messages": [{"template": "too late"}]}}

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(session)

    async with serving("POST", "/sessions/{uuid}", answer) as client:
        with pytest.raises(UpdateRefusedError, match=r"OFFERED \(too late\)") as caught:
            await client.accept(uuid4())
    assert caught.value.session == session


async def test_a_direct_request_gives_its_session(client: ExecutionBrokerClient) -> None:
    assert (await client.direct(REQUEST, policy="soonest"))["phase"] == "ACCEPTED"


async def test_a_refused_direct_request_gives_the_reasons(client: ExecutionBrokerClient) -> None:
    with pytest.raises(UpdateRefusedError, match="Description of the executable") as caught:
        await client.direct({})
    assert caught.value.session["phase"] == "FAILED"


async def test_a_result_of_no_is_an_answer(
    client: ExecutionBrokerClient, broker: CannedBroker
) -> None:
    broker.result_no = True
    assert (await client.request_offers(REQUEST))["result"] == "NO"


async def test_a_wrong_password_is_a_problem(url: str) -> None:
    async with ExecutionBrokerClient(url, USERNAME, "wrong") as client:
        with pytest.raises(BrokerProblemError, match="wrong user name or password") as caught:
            await client.session(uuid4())
    assert caught.value.status == 401


async def test_reading_needs_no_account(client: ExecutionBrokerClient, url: str) -> None:
    uuid = first_offer(await client.request_offers(REQUEST))
    async with ExecutionBrokerClient(url) as anonymous:
        assert (await anonymous.session(uuid))["phase"] == "OFFERED"
        with pytest.raises(BrokerProblemError) as caught:
            await anonymous.accept(uuid)
    assert caught.value.status == 401


async def test_what_does_not_exist_is_a_problem_with_status_404(
    client: ExecutionBrokerClient,
) -> None:
    with pytest.raises(BrokerProblemError) as caught:
        await client.offerset(uuid4())
    assert caught.value.status == 404


async def test_the_nodes_of_a_gateway_are_listed(client: ExecutionBrokerClient) -> None:
    assert [node["name"] for node in await client.nodes()] == ["alpha", "beta", "gamma"]


async def test_a_session_is_watched_until_its_end(client: ExecutionBrokerClient) -> None:
    uuid = first_offer(await client.request_offers(REQUEST))
    await client.accept(uuid)
    phases = [session["phase"] async for session in client.watch(uuid, deadline_s=5)]
    assert phases == [
        "ACCEPTED",
        "WAITING",
        "PREPARING",
        "AVAILABLE",
        "RUNNING",
        "RELEASING",
        "COMPLETED",
    ]


async def test_watching_ends_at_its_deadline(client: ExecutionBrokerClient) -> None:
    uuid = first_offer(await client.request_offers(REQUEST))
    began = time.monotonic()
    with pytest.raises(WatchDeadlineError, match="still OFFERED"):
        async for _ in client.watch(uuid, deadline_s=0.1):
            pass
    assert time.monotonic() - began < 1


async def test_watching_polls_less_often_while_nothing_changes(
    client: ExecutionBrokerClient, broker: CannedBroker
) -> None:
    uuid = first_offer(await client.request_offers(REQUEST))
    broker.seen.clear()
    with pytest.raises(WatchDeadlineError):
        async for _ in client.watch(uuid, deadline_s=0.2):
            pass
    assert len(broker.seen) < 0.2 / FAST.first_s / 2


async def test_watching_survives_a_broker_that_is_away_for_a_moment(
    client: ExecutionBrokerClient, broker: CannedBroker
) -> None:
    uuid = first_offer(await client.request_offers(REQUEST))
    await client.accept(uuid)
    phases = []
    async for session in client.watch(uuid, deadline_s=5):
        phases.append(session["phase"])
        if len(phases) == 1:
            broker.drop = 3
    assert broker.drop == 0
    assert phases[-1] == "COMPLETED"


async def test_watching_a_broker_that_stays_away_ends() -> None:
    async with ExecutionBrokerClient(f"http://127.0.0.1:{unused_port()}", polling=FAST) as client:
        with pytest.raises(BrokerUnavailableError):
            async for _ in client.watch(uuid4()):
                pass


async def test_a_refused_connection_says_what_to_do_and_is_not_repeated() -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    async with ExecutionBrokerClient(url) as client:
        with pytest.raises(BrokerUnavailableError, match="Check that it runs") as caught:
            await client.nodes()
    assert url in str(caught.value)


async def test_a_host_that_does_not_exist_is_unavailable() -> None:
    async with ExecutionBrokerClient("http://nowhere.invalid") as client:
        with pytest.raises(BrokerUnavailableError, match="cannot connect"):
            await client.nodes()


async def test_a_broker_that_hangs_is_given_up_in_time() -> None:
    released = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    began = time.monotonic()
    async with serving("GET", "/nodes", hang, timeout_s=0.1) as client:
        with pytest.raises(BrokerUnavailableError, match=r"no answer within 0\.1 s"):
            await client.nodes()
        assert time.monotonic() - began < 1
        released.set()


@pytest.mark.parametrize(
    ("body", "status"), [("<html>hello</html>", 200), ("", 200), ("[]", 200), ("{", 303)]
)
async def test_an_answer_that_is_no_document_is_unreadable(body: str, status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, status=status)

    async with serving("GET", "/sessions/{uuid}", answer) as client:
        with pytest.raises(UnreadableAnswerError, match="does not speak"):
            await client.session(uuid4())


@pytest.mark.parametrize("body", ["", "gateway says no", '"text"', '{"error": "Bad Request"}'])
async def test_a_failure_without_problem_body_is_still_a_problem(body: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, status=400)

    async with serving("GET", "/sessions/{uuid}", answer) as client:
        with pytest.raises(BrokerProblemError, match=r"Bad Request|HTTP status 400"):
            await client.session(uuid4())


async def test_a_redirect_without_body_is_followed_on_the_same_broker() -> None:
    uuid = uuid4()

    async def redirect(_: web.Request) -> web.Response:
        elsewhere = f"http://internal.invalid:8082/offersets/{uuid}"
        return web.Response(status=303, headers={"Location": elsewhere})

    async def offerset(request: web.Request) -> web.Response:
        return web.json_response({"result": "YES", "meta": {"uuid": request.match_info["uuid"]}})

    async with serving(
        "POST", "/requests", redirect, extra=("/offersets/{uuid}", offerset)
    ) as client:
        assert (await client.request_offers(REQUEST))["meta"]["uuid"] == str(uuid)


async def test_a_redirect_to_nowhere_is_unreadable() -> None:
    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=303)

    async with serving("POST", "/requests", redirect) as client:
        with pytest.raises(UnreadableAnswerError, match="nowhere"):
            await client.request_offers(REQUEST)


async def test_a_base_url_with_a_path_is_kept() -> None:
    async def nodes(_: web.Request) -> web.Response:
        return web.json_response({"nodes": [{"name": "alpha"}, "nonsense"]})

    async with serving("GET", "/broker/v1/nodes", nodes, prefix="/broker/v1/") as client:
        assert await client.nodes() == [{"name": "alpha"}]


async def test_a_list_of_nodes_without_nodes_is_unreadable() -> None:
    async def nodes(_: web.Request) -> web.Response:
        return web.json_response({"node": []})

    async with serving("GET", "/nodes", nodes) as client:
        with pytest.raises(UnreadableAnswerError):
            await client.nodes()


async def test_an_identity_is_made() -> None:
    async def add(request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"uuid": str(uuid4()), "username": body["username"]}, status=201)

    async with serving("POST", "/admin/identities", add) as client:
        assert (await client.add_identity("somebody", "secret"))["username"] == "somebody"


@pytest.mark.parametrize("url", ["gateway:8080", "ftp://example.org", "http://", ""])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not an http or https URL"):
        ExecutionBrokerClient(url)


def test_a_password_in_the_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValueError, match="may not hold a password") as caught:
        ExecutionBrokerClient("http://somebody:secret@example.org")
    assert "secret" not in str(caught.value)


async def test_a_client_outside_of_its_block_says_so() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await ExecutionBrokerClient("http://127.0.0.1:1").nodes()


class serving:  # noqa: N801 - reads as a verb in `async with`
    """A client of a server with one or two handlers."""

    def __init__(
        self,
        method: str,
        path: str,
        handler: Any,
        *,
        extra: tuple[str, Any] | None = None,
        prefix: str = "",
        timeout_s: float = 5,
    ) -> None:
        app = web.Application()
        app.router.add_route(method, path, handler)
        if extra is not None:
            app.router.add_get(*extra)
        self.server = TestServer(app)
        self.prefix, self.timeout_s = prefix, timeout_s

    async def __aenter__(self) -> ExecutionBrokerClient:
        await self.server.start_server()
        url = str(self.server.make_url("")).rstrip("/") + self.prefix
        self.client = ExecutionBrokerClient(url, timeout_s=self.timeout_s)
        return await self.client.__aenter__()

    async def __aexit__(self, *reason: Any) -> None:
        await self.client.__aexit__(*reason)
        await self.server.close()
