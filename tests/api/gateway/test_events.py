"""Events of sessions, offer sets and owners: by pages, and as they happen."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import web

from gateway.httpkit.health import LIFECYCLE
from gateway.settings import EventSettings
from gateway.wire.documents import Document
from tests.support.event_streams import EventsSeen, kinds, watching
from tests.support.gateway import QUICK_SESSIONS, GatewayUnderTest, running_gateway
from tests.support.node import ADMIN, ALICE, BOB, NOBODY, node_settings, running_node
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

END = "session.phase.completed"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayUnderTest]:
    """A gateway over one node."""
    async with (
        running_node(tmp_path, node_settings()) as node,
        running_gateway({"alpha": node.url}, tmp_path / "gateway") as running,
    ):
        yield running


async def accepted(gateway: GatewayUnderTest, **headers: object) -> Document:
    """A session that runs, of one of two offers."""
    offerset = (await gateway.ask(minimal_request(), "?per_node=2", **headers)).document
    uuid = offerset["offers"][0]["meta"]["uuid"]
    session: Document = (await gateway.move(uuid, "ACCEPTED", **headers)).document
    assert session["phase"] not in {"OFFERED", "EXPIRED"}, session
    return session | {"offerset": offerset["meta"]["uuid"]}


async def test_a_session_is_watched_from_its_acceptance_to_its_end(
    gateway: GatewayUnderTest,
) -> None:
    session = await accepted(gateway)
    url = f"{gateway.url}/sessions/{session['meta']['uuid']}/events"
    async with watching(gateway.session, url) as stream:
        assert stream.answer.content_type == "text/event-stream"
        assert stream.answer.headers["Cache-Control"] == "no-store"
        assert stream.answer.headers["X-Accel-Buffering"] == "no"
        seen = await stream.rest()
    assert kinds(seen)[0] == "session.accept-asked"
    assert kinds(seen)[-1] == END
    assert len({event["id"] for event in seen}) == len(seen)
    assert sorted(seen, key=lambda event: int(event["id"])) == seen


@pytest.mark.parametrize("scope", ["sessions", "offersets"])
async def test_what_is_watched_is_looked_at_though_nobody_reads_it(
    tmp_path: Path, scope: str
) -> None:
    rarely = replace(QUICK_SESSIONS, follow_s=3600.0)
    async with (
        running_node(tmp_path, node_settings()) as node,
        running_gateway({"alpha": node.url}, tmp_path / "gateway", sessions=rarely) as gateway,
    ):
        session = await accepted(gateway)
        uuid = session["meta"]["uuid"] if scope == "sessions" else session["offerset"]
        async with (
            asyncio.timeout(20),
            watching(gateway.session, f"{gateway.url}/{scope}/{uuid}/events") as stream,
        ):
            assert kinds(await stream.rest())[-1] == END


async def test_an_event_is_a_cloud_event_and_names_nobody(gateway: GatewayUnderTest) -> None:
    session = await accepted(gateway, account=ALICE)
    uuid = session["meta"]["uuid"]
    url = f"{gateway.url}/sessions/{uuid}/events"
    async with watching(gateway.session, url, account=BOB) as stream:
        event = await stream.cloud_event()
    assert event.pop("time").endswith("Z")
    assert event == {
        "specversion": "1.0",
        "id": stream.id,
        "source": "urn:execbroker:gateway:gateway",
        "type": "int.skao.srcnet.execbroker.session.accept-asked",
        "subject": f"sessions/{uuid}",
        "datacontenttype": "application/json",
        "data": {"by": "owner", "session": uuid, "offerset": session["offerset"]},
    }


async def test_who_comes_back_goes_on_where_it_left_off(gateway: GatewayUnderTest) -> None:
    session = await accepted(gateway)
    url = f"{gateway.url}/sessions/{session['meta']['uuid']}/events"
    async with watching(gateway.session, url) as stream:
        before = [await stream.cloud_event()]
    async with watching(gateway.session, url, last_id=stream.id) as stream:
        after = await stream.rest()
    async with watching(gateway.session, url) as stream:
        assert before + after == await stream.rest()


async def test_nothing_more_is_said_of_what_is_over(gateway: GatewayUnderTest) -> None:
    session = await accepted(gateway)
    url = f"{gateway.url}/sessions/{session['meta']['uuid']}/events"
    async with watching(gateway.session, url) as stream:
        await stream.rest()
    async with watching(gateway.session, url, last_id=stream.id, status=204):
        pass


async def test_an_offer_set_shows_its_offers_and_what_became_of_them(
    gateway: GatewayUnderTest,
) -> None:
    offerset = (await gateway.ask(minimal_request(), "?per_node=2")).document
    url = f"{gateway.url}/offersets/{offerset['meta']['uuid']}/events"
    async with watching(gateway.session, url) as stream:
        assert kinds([await stream.cloud_event()]) == ["offerset.offered"]
        await gateway.move(offerset["offers"][0]["meta"]["uuid"], "ACCEPTED")
        assert "session.phase.rejected" in kinds(await stream.until(END))
        assert await stream.next() is None


async def test_an_owner_sees_what_is_its_own_and_the_administrator_all(
    gateway: GatewayUnderTest,
) -> None:
    url = f"{gateway.url}/events"
    async with (
        watching(gateway.session, url, account=ALICE) as alice,
        watching(gateway.session, url, account=BOB) as bob,
        watching(gateway.session, url) as admin,
    ):
        hers = await accepted(gateway, account=ALICE)
        assert {event["data"]["offerset"] for event in await alice.until(END)} == {hers["offerset"]}
        his = await accepted(gateway, account=BOB)
        assert {event["data"]["offerset"] for event in await bob.until(END)} == {his["offerset"]}
        seen = await admin.until(END) + await admin.until(END)
    assert {event["data"]["offerset"] for event in seen} == {hers["offerset"], his["offerset"]}


async def test_the_events_of_all_are_for_nobody_else(gateway: GatewayUnderTest) -> None:
    assert (await gateway.call("GET", "/events", account=NOBODY)).status == 401
    answer = await gateway.call("GET", "/events?owner=somebody", account=ALICE)
    assert answer.status == 403, answer.text
    assert (await gateway.call("GET", f"/sessions/{uuid4()}/events")).status == 404
    assert (await gateway.call("GET", f"/offersets/{uuid4()}/events")).status == 404


async def test_events_are_read_by_pages(gateway: GatewayUnderTest) -> None:
    session = await accepted(gateway)
    path = f"/sessions/{session['meta']['uuid']}/events"
    async with watching(gateway.session, gateway.url + path) as stream:
        seen = await stream.rest()
    read: list[Document] = []
    after = "0"
    while True:
        answer = await gateway.call("GET", f"{path}?limit=2&after={after}")
        assert answer.status == 200, answer.text
        if not answer.document["events"]:
            break
        assert len(answer.document["events"]) <= 2
        read += answer.document["events"]
        after = answer.document["next"]
    assert read == seen
    ends = await gateway.call("GET", f"{path}?type=session.phase.comp*")
    assert kinds(ends.document["events"]) == [END]
    nothing = await gateway.call("GET", f"/events?type=nothing&after={seen[-1]['id']}")
    assert nothing.document["events"] == []


async def test_only_the_types_asked_for_are_sent(gateway: GatewayUnderTest) -> None:
    session = await accepted(gateway)
    url = f"{gateway.url}/sessions/{session['meta']['uuid']}/events?type={END}"
    async with watching(gateway.session, url) as stream:
        assert kinds(await stream.rest()) == [END]


async def test_a_place_that_no_event_has_had_is_refused(gateway: GatewayUnderTest) -> None:
    for last_id in ("x", "-1", "9" * 30, "999999"):
        answer = await gateway.call(
            "GET", "/events", Last_Event_ID=last_id, Accept="text/event-stream"
        )
        assert answer.status == 400, answer.text


async def test_a_stream_without_a_place_begins_now_and_says_where(
    gateway: GatewayUnderTest,
) -> None:
    await accepted(gateway)
    url = f"{gateway.url}/events"
    async with watching(gateway.session, url) as stream:
        await eventually(lambda: place_of(stream))
    later = await accepted(gateway)
    async with watching(gateway.session, url, last_id=stream.id) as stream:
        events = await stream.until("session.phase.completed")
    assert later["offerset"] in {event["data"]["offerset"] for event in events}


async def place_of(stream: EventsSeen) -> bool:
    """Whether the stream has said where it is; nothing else is to come."""
    try:
        async with asyncio.timeout(0.05):
            await stream.next()
    except TimeoutError:
        pass
    return bool(stream.id)


async def test_streams_do_not_count_as_requests_being_answered(gateway: GatewayUnderTest) -> None:
    async with watching(gateway.session, f"{gateway.url}/events") as stream:
        await eventually(lambda: place_of(stream))
        metrics = (await gateway.call("GET", "/metrics")).text
    assert "execbroker_http_requests_in_flight 1.0" in metrics
    assert "execbroker_event_watchers 1.0" in metrics


async def test_one_owner_has_so_many_streams_and_all_together_so_many(tmp_path: Path) -> None:
    settings = EventSettings(streams=3, streams_per_owner=2)
    async with (
        running_node(tmp_path, node_settings()) as node,
        running_gateway({"alpha": node.url}, tmp_path / "gateway", events=settings) as gateway,
    ):
        http, url = gateway.session, f"{gateway.url}/events"
        async with watching(http, url, account=ALICE):
            async with (
                watching(http, url, account=ALICE),
                watching(http, url, account=ALICE, status=429) as refused,
                watching(http, url, account=BOB),
                watching(http, url, account=ADMIN, status=503),
            ):
                assert refused.answer.headers["Retry-After"]
            # The places of those who have left are given to others.
            await eventually(lambda: can_watch(gateway))


async def can_watch(gateway: GatewayUnderTest) -> bool:
    """Whether one more stream can be opened."""
    headers = {"Accept": "text/event-stream", **ALICE.headers}
    async with gateway.session.get(f"{gateway.url}/events", headers=headers) as answer:
        return answer.status == 200


async def test_a_stream_ends_after_its_time_and_is_gone_on_with(tmp_path: Path) -> None:
    settings = EventSettings(stream_s=1.0)
    async with (
        running_node(tmp_path, node_settings()) as node,
        running_gateway({"alpha": node.url}, tmp_path / "gateway", events=settings) as gateway,
    ):
        async with watching(gateway.session, f"{gateway.url}/events") as stream:
            assert await stream.next() is None
        assert stream.id == "0"


def tell_to_end(app: web.Application) -> None:
    """As the first signal does."""
    app[LIFECYCLE].begin_draining()


@pytest.mark.parametrize("end", [tell_to_end, web.Application.shutdown])
async def test_streams_end_at_once_when_the_service_is_to_end(
    end: Callable[[web.Application], Awaitable[None] | None], tmp_path: Path
) -> None:
    async with running_gateway({}, tmp_path / "gateway") as gateway:
        assert gateway.app is not None
        async with watching(gateway.session, f"{gateway.url}/events") as stream:
            loop = asyncio.get_running_loop()
            began = loop.time()
            ending = end(gateway.app)
            if ending is not None:
                await ending
            assert await stream.next() is None
            assert loop.time() - began < 1.0


async def test_what_is_read_by_head_has_no_body(gateway: GatewayUnderTest) -> None:
    session = await accepted(gateway)
    answer = await gateway.call(
        "HEAD", f"/sessions/{session['meta']['uuid']}/events", Accept="text/event-stream"
    )
    assert (answer.status, answer.text) == (200, "")


async def test_events_can_be_had_in_yaml(gateway: GatewayUnderTest) -> None:
    session = await accepted(gateway)
    path = f"/sessions/{session['meta']['uuid']}/events"
    answer = await gateway.call("GET", path, Accept="application/yaml")
    assert answer.status == 200
    assert "specversion" in answer.text or "events: []" in answer.text
    assert (await gateway.call("GET", path, Accept="image/png")).status == 406
