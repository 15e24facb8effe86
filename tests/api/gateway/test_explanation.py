"""Explanations and replays: what decided an offer set, and what another policy would have done."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.httpkit.server_settings import AuthenticationSettings, Reads
from gateway.stores.sqlite import SqliteDatabase
from gateway.wire.documents import Document, from_json, to_json
from gateway.wire.kinds import MINMAX_METRIC, MONETARY_COST, STAGING_TIME
from node_stub.config import FigureSettings
from node_stub.rules import Figure
from tests.api.gateway.conftest import Federation, running_federation
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.lake_files import AT_SITES, GB, SITES, file_entry, lake_at, skao
from tests.support.node import ALICE, BOB, NOBODY
from tests.support.requests import minimal_request


def at_price(price: float) -> FigureSettings:
    """What a session costs at a node."""
    return FigureSettings(session=(Figure(MONETARY_COST, price, price),))


@pytest.fixture
async def federation(tmp_path: Path) -> AsyncIterator[Federation]:
    """The data lie at the dear node; the cheapest is on the other side of the world."""
    async with running_federation(
        tmp_path,
        data_lake=lake_at(tmp_path, file_entry(500 * GB, "UK_RSE")),
        sites=SITES,
        node_options=AT_SITES,
        node_changes={
            "alpha": {"costs": at_price(2.0)},
            "beta": {"costs": at_price(0.9)},
            "gamma": {"costs": at_price(0.1)},
        },
    ) as running:
        yield running


async def offered(gateway: GatewayUnderTest, query: str = "", **members: object) -> Document:
    """The offer set for the data."""
    answer = await gateway.ask(minimal_request(data=[skao()], **members), query, account=ALICE)
    document: Document = answer.document
    return document


async def explained(gateway: GatewayUnderTest, offerset: Document) -> Document:
    """The explanation of it."""
    uuid = offerset["meta"]["uuid"]
    answer = await gateway.call("GET", f"/offersets/{uuid}/explanation", account=ALICE)
    assert answer.status == 200, answer.text
    document: Document = answer.document
    return document


async def replayed(gateway: GatewayUnderTest, offerset: Document, question: Document) -> Document:
    """The order that the question leads to."""
    uuid = offerset["meta"]["uuid"]
    answer = await gateway.call("POST", f"/offersets/{uuid}/ranking", question, account=ALICE)
    assert answer.status == 200, answer.text
    document: Document = answer.document
    return document


async def test_an_explanation_has_every_candidate_kept_or_not(federation: Federation) -> None:
    offerset = await offered(federation.gateway, "?per_node=1&limit=2")
    document = await explained(federation.gateway, offerset)
    assert [one["rank"] for one in document["candidates"]] == [1, 2, None]
    assert document["candidates"][2]["dropped"]["code"] == "over_limit"
    kept = [offer["meta"]["uuid"] for offer in offerset["offers"]]
    assert [one["offer"] for one in document["candidates"][:2]] == kept
    assert document["coverage"] == offerset["federation"]["coverage"]
    for one in document["candidates"]:
        counted = {quantity["quantity"]: quantity for quantity in one["quantities"]}
        assert {"begin", "staging", "monetary", "track_record"} <= set(counted)
        assert counted["monetary"]["basis"] == "measured"
        assert one["placement"]["basis"] in {"measured", "geography"}


async def test_the_score_is_the_weighted_mean_of_the_utilities(federation: Federation) -> None:
    document = await explained(federation.gateway, await offered(federation.gateway))
    for one in document["candidates"]:
        weights = sum(quantity["weight"] for quantity in one["quantities"])
        total = sum(quantity["weight"] * quantity["utility"] for quantity in one["quantities"])
        assert one["score"] == pytest.approx(total / weights, abs=1e-5)


async def test_the_clauses_say_who_passed_what(federation: Federation) -> None:
    limits = [{"kind": MINMAX_METRIC, "type": STAGING_TIME, "max": 600.0}]
    offerset = await offered(federation.gateway, metrics=limits)
    document = await explained(federation.gateway, offerset)
    table = {
        (line["clause"], node["node"]): (node["passed"] > 0, node["failed"] > 0)
        for line in document["clauses"]
        for node in line["nodes"]
    }
    passes, fails = (True, False), (False, True)
    assert table["metric staging-time", "alpha"] == passes
    assert table["metric staging-time", "gamma"] == fails
    assert table["cores", "gamma"] == passes
    assert table["memory", "alpha"] == passes
    assert "gamma" in {one["node"] for one in document["rejected"]}
    assert "alpha" not in {one["node"] for one in document["rejected"]}


async def test_the_same_policy_again_gives_the_same_order(federation: Federation) -> None:
    offerset = await offered(federation.gateway)
    document = await replayed(federation.gateway, offerset, {})
    assert document["is_same"]
    assert document["policy"]["name"] == document["was"] == "balanced"
    kept = [one["offer"] for one in document["candidates"] if one["rank"]]
    assert kept == [offer["meta"]["uuid"] for offer in offerset["offers"]]
    scores = {offer["meta"]["uuid"]: offer["federation"]["score"] for offer in offerset["offers"]}
    assert {one["offer"]: one["score"] for one in document["candidates"]} == scores


async def test_another_policy_shows_how_the_order_would_change(federation: Federation) -> None:
    offerset = await offered(federation.gateway)
    before = [offer["federation"]["node"] for offer in offerset["offers"]]
    document = await replayed(federation.gateway, offerset, {"policy": "cheapest"})
    assert document["candidates"][0]["node"] == "gamma"
    assert not document["is_same"]
    was = {one["offer"]: one["was_rank"] for one in document["candidates"]}
    assert was == {o["meta"]["uuid"]: rank for rank, o in enumerate(offerset["offers"], start=1)}
    again = await federation.gateway.call("GET", f"/offersets/{offerset['meta']['uuid']}")
    assert [offer["federation"]["node"] for offer in again.document["offers"]] == before
    nearest = await replayed(federation.gateway, offerset, {"policy": "nearest"})
    assert nearest["candidates"][0]["node"] == "alpha"


async def test_weights_of_ones_own_make_a_policy(federation: Federation) -> None:
    offerset = await offered(federation.gateway)
    question = {"weights": {"monetary": 1}, "references": {"monetary": 0.5}, "limit": 1}
    document = await replayed(federation.gateway, offerset, question)
    assert document["policy"]["name"] == "asked"
    assert [one["rank"] for one in document["candidates"]].count(1) == 1
    assert sum(one["rank"] is not None for one in document["candidates"]) == 1
    assert document["candidates"][0]["node"] == "gamma"


@pytest.mark.parametrize(
    ("question", "status"),
    [
        ({"policy": "nicest"}, 400),
        ({"weights": {"beauty": 3}}, 422),
        ({"weights": {"monetary": 0}}, 422),
        ({"weights": {"monetary": -1}}, 400),
        ({"per_node": 0}, 400),
        ({"nonsense": 1}, 400),
        ([], 400),
    ],
)
async def test_a_question_that_makes_no_policy_is_a_problem(
    federation: Federation, question: object, status: int
) -> None:
    uuid = (await offered(federation.gateway))["meta"]["uuid"]
    answer = await federation.gateway.call("POST", f"/offersets/{uuid}/ranking", question)
    assert answer.status == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/problem+json")


async def test_an_offer_set_that_is_not_there_has_no_explanation(federation: Federation) -> None:
    for method, path in (("GET", "explanation"), ("POST", "ranking")):
        answer = await federation.gateway.call(
            method, f"/offersets/{uuid4()}/{path}", {} if method == "POST" else None
        )
        assert answer.status == 404


async def test_an_explanation_can_be_read_as_yaml_and_xml(federation: Federation) -> None:
    uuid = (await offered(federation.gateway))["meta"]["uuid"]
    for media_type in ("application/yaml", "application/xml"):
        answer = await federation.gateway.call(
            "GET", f"/offersets/{uuid}/explanation", Accept=media_type
        )
        assert answer.status == 200, answer.text
        assert "counts_most" in answer.text


async def test_who_may_not_read_an_offer_set_may_not_read_why(tmp_path: Path) -> None:
    private = AuthenticationSettings(reads=Reads.OWNER)
    async with running_federation(tmp_path, ("alpha",), authentication=private) as federation:
        gateway = federation.gateway
        answer = await gateway.ask(minimal_request(), account=ALICE)
        path = f"/offersets/{answer.document['meta']['uuid']}"
        for account, status in ((ALICE, 200), (BOB, 404)):
            reply = await gateway.call("GET", f"{path}/explanation", account=account)
            assert reply.status == status
            reply = await gateway.call("POST", f"{path}/ranking", {}, account=account)
            assert reply.status == status
        reply = await gateway.call("GET", f"{path}/explanation", account=NOBODY)
        assert reply.status in {401, 404}


async def test_an_older_record_is_said_to_be_too_old(tmp_path: Path) -> None:
    async with running_gateway({}, tmp_path / "gateway") as gateway:
        answer = await gateway.ask(minimal_request())
        assert answer.status == 503
    folder = tmp_path / "gateway"
    database = SqliteDatabase(folder / "gateway.db")
    await database.open()
    async with database.transaction() as tx:
        row = await tx.fetch_one("SELECT uuid, record FROM offersets", ())
        assert row is not None
        uuid, record = row["uuid"], from_json(row["record"])
        await tx.execute("UPDATE offersets SET record = ?", (to_json(record | {"version": 1}),))
    await database.close()
    async with running_gateway({}, folder) as gateway:
        answer = await gateway.call("GET", f"/offersets/{uuid}/explanation")
    assert answer.status == 409
    assert answer.document["type"].endswith("ranking-not-replayable")
