"""Who did what is kept, also while the database is away, and shown to the administrator alone."""

import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from gateway.api.audit import AUDIT
from gateway.cli.arguments import parser
from gateway.cli.output import OK
from gateway.cli.running import run
from gateway.wire.documents import Document
from tests.api.gateway.conftest import Federation
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.node import ADMIN, ALICE, BOB, NOBODY, Account
from tests.support.requests import minimal_request

WRONG: Final = Account("alice", "guessed")


async def entries_of(gateway: GatewayUnderTest, query: str = "") -> list[Document]:
    """What the trail has once all that was done so far is saved."""
    assert gateway.app is not None
    await gateway.app[AUDIT].flush()
    answer = await gateway.call("GET", f"/admin/audit{query}")
    assert answer.status == 200, answer.text
    entries: list[Document] = answer.document["entries"]
    return entries


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayUnderTest]:
    """A gateway without nodes."""
    async with running_gateway({}, tmp_path) as running:
        yield running


async def test_a_call_that_changes_something_leaves_who_what_and_how_it_ended(
    federation: Federation,
) -> None:
    gateway = federation.gateway
    before = datetime.now(UTC)
    headers = {"x_request_id": "the-request"}
    asked = await gateway.ask(minimal_request(), account=ALICE, **headers)
    offer = asked.document["offers"][0]["meta"]["uuid"]
    await gateway.move(offer, "ACCEPTED", account=ALICE)
    strange = await gateway.move(offer, "CANCELLED", account=BOB)
    assert strange.status == 403
    refused, accepted, offered = (await entries_of(gateway))[:3]
    assert {key: offered[key] for key in ("what", "object", "request_id", "status", "reason")} == {
        "what": "POST /requests",
        "object": asked.document["meta"]["uuid"],
        "request_id": "the-request",
        "status": 303,
        "reason": None,
    }
    assert offered["origin"] == "127.0.0.1"
    assert before <= datetime.fromisoformat(offered["at"]) <= datetime.now(UTC)
    assert accepted["what"] == "POST /sessions/{uuid}"
    assert accepted["object"] == offer
    assert accepted["who"] == offered["who"] != refused["who"]
    assert (refused["status"], refused["reason"]) == (403, "not-owner")


async def test_reading_leaves_nothing(gateway: GatewayUnderTest) -> None:
    before = await entries_of(gateway)
    await gateway.call("GET", "/nodes", account=ALICE)
    await gateway.call("GET", f"/sessions/{uuid4()}", account=NOBODY)
    assert await entries_of(gateway) == before


async def test_asking_how_it_would_be_otherwise_leaves_nothing_unless_it_is_refused(
    federation: Federation,
) -> None:
    gateway = federation.gateway
    asked = await gateway.ask(minimal_request(), account=ALICE)
    path = f"/offersets/{asked.document['meta']['uuid']}/ranking"
    assert (await gateway.call("POST", path, {}, account=ALICE)).status == 200
    assert await entries_of(gateway, "?what=POST%20/offersets/%7Buuid%7D/ranking") == []
    assert (await gateway.call("POST", path, {"policy": "none"}, account=ALICE)).status == 400
    (refused,) = await entries_of(gateway, "?what=POST%20/offersets/%7Buuid%7D/ranking")
    assert refused["reason"] == "unknown-policy"


async def test_an_identity_that_is_made_is_noted_without_its_password(
    gateway: GatewayUnderTest,
) -> None:
    document = {"username": "carol", "password": "open-sesame"}
    answer = await gateway.call("POST", "/admin/identities", document)
    (made, *_) = await entries_of(gateway)
    assert (made["who"], made["what"], made["status"]) == ("admin", "POST /admin/identities", 201)
    assert made["object"] == answer.document["uuid"]
    assert "open-sesame" not in str(await entries_of(gateway))


async def test_a_name_that_no_database_could_keep_is_noted_too(gateway: GatewayUnderTest) -> None:
    answer = await gateway.call("PATCH", "/nodes/a%00b%FFc%0A", {"draining": True}, account=ALICE)
    assert 400 <= answer.status < 500
    (noted, *_) = await entries_of(gateway)
    assert noted["what"] == "PATCH /nodes/{name}"
    assert noted["object"].startswith("a?b")
    assert noted["object"].isprintable()


async def test_a_failed_log_in_is_noted_also_where_it_would_only_have_read(
    gateway: GatewayUnderTest,
) -> None:
    assert (await gateway.call("GET", "/nodes", account=WRONG)).status == 401
    (failed, *_) = await entries_of(gateway)
    assert (failed["who"], failed["what"]) == ("nobody", "GET /nodes")
    assert (failed["status"], failed["reason"]) == (401, "unauthorized")
    assert "guessed" not in str(failed)


async def test_entries_are_found_by_who_what_object_and_time(gateway: GatewayUnderTest) -> None:
    uuid = str(uuid4())
    await gateway.move(uuid, "ACCEPTED", account=ALICE)
    (found,) = await entries_of(gateway, f"?object={uuid}")
    assert found["status"] == 404
    assert await entries_of(gateway, f"?who={found['who']}") == [found]
    assert await entries_of(gateway, "?what=POST%20/sessions/%7Buuid%7D&limit=5") == [found]
    assert found in await entries_of(gateway, f"?since={found['at']}")
    assert found not in await entries_of(gateway, f"?until={found['at']}")
    assert await entries_of(gateway, "?who=stranger") == []
    answer = await gateway.call("GET", "/admin/audit?since=2026-02-30T00:00:00Z&limit=0")
    assert answer.status == 400
    assert {fault["pointer"] for fault in answer.document["errors"]} == {"/since", "/limit"}


async def test_pages_have_every_entry_once_also_while_more_come_in(
    gateway: GatewayUnderTest,
) -> None:
    for _ in range(5):
        await gateway.move(str(uuid4()), "ACCEPTED", account=ALICE)
    wanted = [entry["object"] for entry in await entries_of(gateway)]
    found: list[str | None] = []
    cursor = ""
    while True:
        answer = await gateway.call("GET", f"/admin/audit?limit=2{cursor}")
        found += [entry["object"] for entry in answer.document["entries"]]
        await gateway.move(str(uuid4()), "ACCEPTED", account=ALICE)
        await entries_of(gateway)
        if answer.document["next"] is None:
            break
        cursor = f"&cursor={answer.document['next']}"
    assert found == wanted


async def test_what_was_done_last_is_there_after_a_restart(tmp_path: Path) -> None:
    uuid = str(uuid4())
    async with running_gateway({}, tmp_path) as gateway:
        await gateway.move(uuid, "ACCEPTED", account=ALICE)
    async with running_gateway({}, tmp_path) as gateway:
        assert [e["object"] for e in await entries_of(gateway, f"?object={uuid}")] == [uuid]


async def test_the_command_shows_what_the_administrator_asks_for(
    gateway: GatewayUnderTest,
) -> None:
    for _ in range(3):
        await gateway.move(str(uuid4()), "ACCEPTED", account=ALICE)
    entries = await entries_of(gateway, "?what=POST%20/sessions/%7Buuid%7D")
    argv = ["admin", "audit", "--url", gateway.url, "--what", "POST /sessions/{uuid}"]
    environ = {"EXECBROKER_USERNAME": ADMIN.login, "EXECBROKER_PASSWORD": ADMIN.password}
    out, err = io.StringIO(), io.StringIO()
    code = await run(parser().parse_args([*argv, "--json", "--limit", "2"]), out, err, environ)
    assert (code, err.getvalue()) == (OK, "")
    assert json.loads(out.getvalue()) == {"entries": entries[:2]}
    out = io.StringIO()
    assert await run(parser().parse_args(argv), out, err, environ) == OK
    assert "unknown-session" in out.getvalue()
