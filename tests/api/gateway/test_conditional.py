"""Conditional requests: what has not changed is not sent again, nor changed unseen."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.settings import SessionSettings
from gateway.wire.documents import Document
from tests.api.gateway.conftest import running_federation
from tests.support.gateway import GatewayUnderTest
from tests.support.node import ADMIN, ALICE, BOB
from tests.support.problems import problem
from tests.support.requests import minimal_request

CALM = SessionSettings(fresh_s=30.0, follow_s=30.0)
"""Sessions are read from the node once, so that nothing changes but by the tests."""


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayUnderTest]:
    async with running_federation(tmp_path, ("alpha",), sessions=CALM) as federation:
        federation.gateway.account = ALICE
        yield federation.gateway


@pytest.fixture
async def offerset(gateway: GatewayUnderTest) -> Document:
    document: Document = (await gateway.ask(minimal_request())).document
    return document


def paths_of(offerset: Document) -> list[str]:
    session = offerset["offers"][0]["meta"]["uuid"]
    return [f"/offersets/{offerset['meta']['uuid']}", f"/sessions/{session}"]


async def test_what_the_client_has_is_not_sent_again(
    gateway: GatewayUnderTest, offerset: Document
) -> None:
    for path in paths_of(offerset):
        first = await gateway.call("GET", path)
        tag = first.headers["ETag"]
        assert first.headers["Cache-Control"] == "private, no-cache"
        for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
            again = await gateway.call("GET", path, If_None_Match=known)
            assert (again.status, again.text) == (304, ""), known
            assert again.headers["ETag"] == tag
            assert again.headers["Vary"] == "Accept"
        head = await gateway.call("HEAD", path, If_None_Match=tag)
        assert head.status == 304
        for other in ('"other"', "other", '""'):
            assert (await gateway.call("GET", path, If_None_Match=other)).status == 200


async def test_another_media_type_is_another_representation(
    gateway: GatewayUnderTest, offerset: Document
) -> None:
    path = paths_of(offerset)[0]
    tags = {
        media_type: (await gateway.call("GET", path, Accept=media_type)).headers["ETag"]
        for media_type in ("application/json", "application/yaml", "application/xml")
    }
    assert len(set(tags.values())) == 3
    known = tags["application/json"]
    answer = await gateway.call("GET", path, Accept="application/yaml", If_None_Match=known)
    assert answer.status == 200


async def test_whoever_is_offered_something_else_has_another_tag(
    gateway: GatewayUnderTest, offerset: Document
) -> None:
    path = paths_of(offerset)[1]
    mine, theirs = [
        (await gateway.call("GET", path, account=who)).headers["ETag"] for who in (ALICE, BOB)
    ]
    assert mine != theirs


async def test_a_session_that_moved_is_sent_and_not_changed_unseen(
    gateway: GatewayUnderTest, offerset: Document
) -> None:
    sets, path = paths_of(offerset)
    uuid = path.rpartition("/")[2]
    seen, seen_set = [(await gateway.call("GET", p)).headers["ETag"] for p in (path, sets)]
    accepted = await gateway.move(uuid, "ACCEPTED", If_Match=seen)
    assert accepted.status == 200, accepted.text
    for p, tag in ((path, seen), (sets, seen_set)):
        assert (await gateway.call("GET", p, If_None_Match=tag)).status == 200
    problem(await gateway.move(uuid, "CANCELLED", If_Match=seen), 412)
    assert (await gateway.call("GET", path)).document["phase"] not in {"CANCELLED", "RELEASING"}
    assert (await gateway.move(uuid, "CANCELLED", If_Match="*")).status == 200


@pytest.mark.parametrize("tag", ['"something"', "W/{tag}", "garbage"])
async def test_a_tag_that_is_not_the_sessions_changes_nothing(
    gateway: GatewayUnderTest, offerset: Document, tag: str
) -> None:
    path = paths_of(offerset)[1]
    now = (await gateway.call("GET", path)).headers["ETag"]
    uuid = path.rpartition("/")[2]
    problem(await gateway.move(uuid, "REJECTED", If_Match=tag.format(tag=now)), 412)
    assert (await gateway.call("GET", path)).document["phase"] == "OFFERED"


async def test_the_state_counts_in_whichever_media_type_it_was_read(
    gateway: GatewayUnderTest, offerset: Document
) -> None:
    path = paths_of(offerset)[1]
    seen = (await gateway.call("GET", path, Accept="application/yaml")).headers["ETag"]
    uuid = path.rpartition("/")[2]
    assert (await gateway.move(uuid, "REJECTED", If_Match=seen)).status == 200


async def test_an_offer_that_was_made_carries_no_tag(gateway: GatewayUnderTest) -> None:
    answer = await gateway.ask(minimal_request(), account=ADMIN)
    assert "ETag" not in answer.headers
