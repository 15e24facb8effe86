"""Who may ask what of whom, through a real gateway over real nodes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from gateway.api.requests import OFFERS
from gateway.domain.permissions import Names, Permissions, Rule
from gateway.services.caller import Caller
from gateway.services.planning import OfferQuestion
from gateway.wire import kinds
from gateway.wire.documents import Document
from tests.api.gateway.conftest import Federation, holds_of, running_federation
from tests.support.gateway import running_gateway
from tests.support.node import ADMIN, ALICE, BOB
from tests.support.requests import minimal_request

NODES: Final = ("alpha", "beta")


@asynccontextmanager
async def ruled(
    tmp_path: Path, everyone: Rule | None = None, **more: Any
) -> AsyncIterator[Federation]:
    """Two nodes and a gateway with a rule for everyone."""
    permissions = Permissions(everyone=everyone or Rule())
    async with running_federation(tmp_path, NODES, permissions=permissions, **more) as running:
        yield running


def skipped(document: Document) -> dict[str, str]:
    """Why each node was not asked."""
    return {
        entry["node"]: entry["reason"]["code"]
        for entry in document["federation"]["coverage"]
        if entry["outcome"] == "skipped"
    }


async def test_who_may_not_submit_is_told_so_and_no_node_is_asked(tmp_path: Path) -> None:
    async with ruled(tmp_path, Rule(may_submit=False)) as federation:
        for path in ("/requests", "/direct"):
            answer = await federation.gateway.call("POST", path, minimal_request(), account=ALICE)
            assert answer.status == 403, answer.text
            assert answer.document["type"].endswith("/not-permitted")
            assert [why["code"] for why in answer.document["reasons"]] == ["submit_not_permitted"]
        assert [await holds_of(node) for node in federation.nodes.values()] == [0, 0]


async def test_the_rules_do_not_bind_the_administrator(tmp_path: Path) -> None:
    rule = Rule(may_submit=False, nodes=Names(allow=frozenset()))
    async with ruled(tmp_path, rule) as federation:
        answer = await federation.gateway.ask(minimal_request(), account=ADMIN)
        assert answer.document["result"] == "YES"
        assert skipped(answer.document) == {}


async def test_a_kind_that_is_not_permitted_is_named(tmp_path: Path) -> None:
    rule = Rule(kinds=Names(allow=frozenset({kinds.JUPYTER_NOTEBOOK})))
    async with ruled(tmp_path, rule) as federation:
        answer = await federation.gateway.ask(minimal_request(), account=ALICE)
        assert answer.status == 403, answer.text
        (why,) = answer.document["reasons"]
        assert why["code"] == "kind_not_permitted"
        assert why["values"]["kind"] == kinds.DOCKER_CONTAINER
        assert kinds.DOCKER_CONTAINER in answer.document["detail"]


async def test_a_node_that_the_caller_may_not_use_is_skipped_and_the_coverage_says_why(
    tmp_path: Path,
) -> None:
    async with ruled(tmp_path, Rule(nodes=Names(deny=frozenset({"beta"})))) as federation:
        answer = await federation.gateway.ask(minimal_request(), account=ALICE)
        assert answer.document["result"] == "YES"
        assert skipped(answer.document) == {"beta": "node_not_permitted"}
        assert await holds_of(federation.nodes["beta"]) == 0
        named = await federation.gateway.ask(minimal_request(), "?nodes=beta", account=ALICE)
        assert named.document["result"] == "NO"
        assert skipped(named.document) == {"alpha": "not_wanted", "beta": "node_not_permitted"}


async def test_a_node_reserved_for_a_group_is_asked_for_its_members_alone(tmp_path: Path) -> None:
    options = {"beta": {"groups": ("astronomers",)}}
    async with ruled(tmp_path, node_options=options) as federation:
        answer = await federation.gateway.ask(minimal_request(), account=ALICE)
        assert skipped(answer.document) == {"beta": "node_reserved"}
        assert federation.gateway.app is not None
        member = Caller(owner="carol", groups=frozenset({"astronomers"}))
        question = OfferQuestion(document=minimal_request(), path="/requests")
        reading = await federation.gateway.app[OFFERS].ask(question, member)
        assert [entry["outcome"] for entry in reading.coverage] == ["answered", "answered"]


async def test_the_rule_of_an_owner_is_heard_before_that_of_everyone(tmp_path: Path) -> None:
    async with running_federation(tmp_path, NODES) as federation:
        document = {"username": ALICE.login, "password": ALICE.password}
        taken = await federation.gateway.call("POST", "/admin/identities", document)
        alice = taken.document["uuid"]
        urls = {name: node.url for name, node in federation.nodes.items()}
        permissions = Permissions(
            everyone=Rule(may_submit=False), owners={alice: Rule(may_submit=True)}
        )
        async with running_gateway(urls, tmp_path / "gateway", permissions=permissions) as gateway:
            assert (await gateway.ask(minimal_request(), account=ALICE)).status == 303
            assert (await gateway.ask(minimal_request(), account=BOB)).status == 403


async def test_the_reasons_of_refusals_are_published(tmp_path: Path) -> None:
    async with running_gateway({}, tmp_path) as gateway:
        published = (await gateway.call("GET", "/reasons")).document["reasons"]
    applies = {line["code"]: line["applies_to"] for line in published}
    for code in ("submit_not_permitted", "kind_not_permitted", "quota_offers", "quota_sessions"):
        assert applies[code] == "refused"
    assert applies["node_not_permitted"] == applies["node_reserved"] == "skipped"
