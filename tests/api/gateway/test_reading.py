"""Reading sessions through the gateway: fresh where it can be, honest where it cannot."""

import asyncio
import json
from pathlib import Path
from uuid import uuid4

from gateway.httpkit.server_settings import AuthenticationSettings, Reads
from gateway.settings import SessionSettings
from gateway.wire.documents import Document
from tests.api.gateway.conftest import Federation
from tests.api.gateway.test_acceptance import Line, line, message_kinds
from tests.support.faulty_nodes import (
    Asked,
    Behaviour,
    http_reply,
    offer_document,
    offerset_document,
    running,
)
from tests.support.gateway import running_gateway
from tests.support.node import ADMIN, ALICE, BOB, NOBODY, node_settings, running_node
from tests.support.proxy import Weather, running_proxy
from tests.support.requests import minimal_request
from tests.support.waiting import eventually


def plays(phases: list[str]) -> Behaviour:
    """Offers once, then shows these phases one read after another; forgets cancels and rejects."""
    offer: Document = {}
    left = list(phases)

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.path.startswith("/requests"):
            offer.update(offer_document())
            writer.write(http_reply(json.dumps(offerset_document([offer])).encode()))
            return
        if asked.method == "POST":
            phase = json.loads(asked.body)["value"]
        else:
            phase = left.pop(0) if len(left) > 1 else left[0]
        body = json.dumps(offer | {"phase": phase}).encode()
        writer.write(http_reply(body, status="200 OK"))

    return behave


async def test_a_node_that_is_away_leaves_the_last_copy_and_says_how_old_it_is(
    tmp_path: Path,
) -> None:
    async with line(tmp_path) as one:
        uuid = (await one.offers())[0]["meta"]["uuid"]
        await one.proxy.close()
        document = await one.gateway.read(uuid)
        assert document["phase"] == "OFFERED"
        note = next(m for m in document["meta"]["messages"] if m["kind"] == "urn:last-known")
        assert note["level"] == "WARN"
        assert note["values"]["node"] == "alpha"
        assert int(note["values"]["age_s"]) >= 0


async def test_a_session_that_its_node_has_forgotten_failed_and_is_not_missing(
    tmp_path: Path,
) -> None:
    async with (
        running_node(tmp_path / "before", node_settings()) as before,
        running_node(tmp_path / "after", node_settings()) as after,
        running_proxy(before.url) as proxy,
        running_gateway({"alpha": proxy.url}, tmp_path / "gateway") as gateway,
    ):
        one = Line(gateway, before, proxy)
        before.auth = ADMIN
        uuid = (await one.offers())[0]["meta"]["uuid"]
        proxy.target = after.url
        document = await one.shows(uuid, "FAILED")
        assert "urn:session-lost" in message_kinds(document)
        assert (await gateway.call("GET", f"/sessions/{uuid}")).status == 200


async def test_phases_never_run_backwards(tmp_path: Path) -> None:
    phases = ["ACCEPTED", "RUNNING", "PREPARING", "OFFERED", "RELEASING", "RUNNING", "COMPLETED"]
    async with (
        running(plays([*phases, "RUNNING"])) as node,
        running_gateway({"node": node.url}, tmp_path) as gateway,
    ):
        offer = (await gateway.ask(minimal_request())).document["offers"][0]
        uuid = offer["meta"]["uuid"]
        await gateway.move(uuid, "ACCEPTED")
        order = [
            "ACCEPTED",
            "WAITING",
            "PREPARING",
            "AVAILABLE",
            "RUNNING",
            "RELEASING",
            "COMPLETED",
        ]
        seen = [(await gateway.read(uuid))["phase"] for _ in range(12)]
    assert seen == sorted(seen, key=order.index)
    assert seen[-1] == "COMPLETED"


async def test_a_cancelled_session_stays_so_though_its_node_forgets_and_that_is_said(
    tmp_path: Path,
) -> None:
    async with (
        running(plays(["RUNNING"])) as node,
        running_gateway({"node": node.url}, tmp_path) as gateway,
    ):
        offer = (await gateway.ask(minimal_request())).document["offers"][0]
        uuid = offer["meta"]["uuid"]
        await gateway.move(uuid, "ACCEPTED")
        await gateway.move(uuid, "CANCELLED")
        document = await gateway.read(uuid)
        assert document["phase"] == "CANCELLED"
        assert "urn:execbroker:reason:node_still_active" in message_kinds(document)


async def test_many_readers_at_once_ask_the_node_once(tmp_path: Path) -> None:
    settings = SessionSettings(fresh_s=5.0, read_deadline_s=1.0)
    async with (
        running(plays(["RUNNING"])) as node,
        running_gateway({"node": node.url}, tmp_path, sessions=settings) as gateway,
    ):
        offer = (await gateway.ask(minimal_request())).document["offers"][0]
        await gateway.move(offer["meta"]["uuid"], "ACCEPTED")
        asked_before = len(node.asked)
        await asyncio.gather(*(gateway.read(offer["meta"]["uuid"]) for _ in range(20)))
        assert len(node.asked) - asked_before <= 1


async def test_what_is_not_known_is_404_and_what_is_no_uuid_is_400(
    federation: Federation,
) -> None:
    for path in ("offersets", "sessions", "executables", "compute", "storage", "data", "volumes"):
        missing = await federation.gateway.call("GET", f"/{path}/{uuid4()}")
        assert missing.status == 404, path
        assert missing.headers["Content-Type"].startswith("application/problem+json")
        malformed = await federation.gateway.call("GET", f"/{path}/not-a-uuid")
        assert malformed.status == 400, path


async def test_where_only_owners_read_others_learn_nothing(tmp_path: Path) -> None:
    private = AuthenticationSettings(reads=Reads.OWNER)
    async with (
        running_node(tmp_path, node_settings()) as node,
        running_gateway(
            {"alpha": node.url}, tmp_path / "gateway", authentication=private
        ) as gateway,
    ):
        answer = await gateway.call("POST", "/requests", minimal_request(), account=ALICE)
        offer = answer.document["offers"][0]
        paths = (
            f"/offersets/{answer.document['meta']['uuid']}",
            f"/sessions/{offer['meta']['uuid']}",
            f"/executables/{offer['executable']['meta']['uuid']}",
        )
        for path in paths:
            assert (await gateway.call("GET", path, account=ALICE)).status == 200
            assert (await gateway.call("GET", path, account=ADMIN)).status == 200
            assert (await gateway.call("GET", path, account=BOB)).status == 404
            assert (await gateway.call("GET", path, account=NOBODY)).status == 401
        moved = await gateway.move(offer["meta"]["uuid"], "ACCEPTED", account=BOB)
        assert moved.status == 404


async def test_sessions_that_nobody_reads_are_followed_to_their_end(tmp_path: Path) -> None:
    async with line(tmp_path) as one:
        uuid = (await one.offers())[0]["meta"]["uuid"]
        await one.gateway.move(uuid, "ACCEPTED")
        reads_before = one.proxy.seen.count(("GET", f"/sessions/{uuid}"))

        async def was_looked_at() -> bool:
            return one.proxy.seen.count(("GET", f"/sessions/{uuid}")) > reads_before

        await eventually(was_looked_at, 8.0)


async def test_the_nodes_are_listed_with_what_their_answers_say(federation: Federation) -> None:
    await federation.gateway.ask(minimal_request())
    nodes = (await federation.gateway.call("GET", "/nodes")).document["nodes"]
    assert [node["name"] for node in nodes] == ["alpha", "beta", "gamma"]
    for node in nodes:
        assert node["last"]["outcome"] == "answered"
        assert node["honours_idempotency"] is True
        assert "password" not in json.dumps(node)


async def test_the_reasons_are_published(federation: Federation) -> None:
    answer = await federation.gateway.call("GET", "/reasons", account=NOBODY)
    codes = {entry["code"] for entry in answer.document["reasons"]}
    assert {"starts_soonest", "not_wanted", "node_said_no"} <= codes


async def test_a_node_that_fails_on_reading_costs_nothing_but_freshness(tmp_path: Path) -> None:
    async with line(tmp_path) as one:
        uuid = (await one.offers())[0]["meta"]["uuid"]
        one.proxy.weather = Weather.FAILS
        document = await one.gateway.read(uuid)
        assert "urn:last-known" in message_kinds(document)
