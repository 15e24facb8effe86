"""Asking for offers through the gateway."""

import asyncio
import json
from pathlib import Path

import pytest

from gateway.settings import FederationSettings
from gateway.wire import kinds
from gateway.wire.documents import Document
from tests.api.gateway.conftest import Federation, holds_of, running_federation
from tests.support.faulty_nodes import (
    Asked,
    answers_late,
    answers_status,
    doubles_an_offer,
    hangs_before_headers,
    healthy,
    healthy_answer,
    http_reply,
    offer_document,
    offerset_document,
    refuses,
    running,
    says_no,
)
from tests.support.gateway import running_gateway
from tests.support.node import ALICE, NOBODY, NodeClient
from tests.support.requests import minimal_request
from tests.support.waiting import eventually


def outcomes(document: Document) -> dict[str, str]:
    return {entry["node"]: entry["outcome"] for entry in document["federation"]["coverage"]}


async def test_a_request_is_answered_with_a_redirect_and_the_whole_offer_set(
    federation: Federation,
) -> None:
    answer = await federation.gateway.ask(minimal_request())
    assert answer.status == 303, answer.text
    uuid = answer.document["meta"]["uuid"]
    assert answer.headers["Location"] == f"{federation.gateway.url}/offersets/{uuid}"
    assert answer.document["result"] == "YES"
    again = await federation.gateway.call("GET", f"/offersets/{uuid}")
    assert again.document == answer.document


async def test_a_client_that_prefers_the_representation_gets_it_without_a_redirect(
    federation: Federation,
) -> None:
    answer = await federation.gateway.ask(minimal_request(), Prefer="return=representation")
    assert answer.status == 200
    assert answer.headers["Preference-Applied"] == "return=representation"
    assert answer.document["result"] == "YES"


async def test_every_node_is_asked_and_covered_exactly_once(federation: Federation) -> None:
    answer = await federation.gateway.ask(minimal_request())
    coverage = answer.document["federation"]["coverage"]
    assert [entry["node"] for entry in coverage] == ["alpha", "beta", "gamma"]
    assert {entry["outcome"] for entry in coverage} == {"answered"}
    assert all(entry["took_ms"] >= 0 and entry["offers"] == 2 for entry in coverage)


async def test_offers_come_ranked_with_reasons_and_their_nodes(federation: Federation) -> None:
    offers = (await federation.gateway.ask(minimal_request())).document["offers"]
    said = [offer["federation"] for offer in offers]
    assert [statement["rank"] for statement in said] == list(range(1, len(offers) + 1))
    assert [statement["score"] for statement in said] == sorted(
        (statement["score"] for statement in said), reverse=True
    )
    assert all(statement["reasons"] and statement["path"] for statement in said)
    assert {statement["node"] for statement in said} == {"alpha", "beta", "gamma"}


async def test_every_url_leads_back_to_the_gateway_and_answers(federation: Federation) -> None:
    offer = (await federation.gateway.ask(minimal_request())).document["offers"][0]
    components = [offer, offer["executable"], offer["compute"], *offer.get("storage", [])]
    for component in components:
        url = component["meta"]["url"]
        assert url.startswith(federation.gateway.url)
        answer = await federation.gateway.call("GET", url.removeprefix(federation.gateway.url))
        assert answer.status == 200, url
        assert answer.document["meta"]["uuid"] == component["meta"]["uuid"]


async def test_the_limit_and_the_number_per_node_are_kept_and_the_rest_is_let_go(
    federation: Federation,
) -> None:
    answer = await federation.gateway.ask(minimal_request(), "?limit=2&per_node=1")
    offers = answer.document["offers"]
    assert len(offers) == 2
    assert len({offer["federation"]["node"] for offer in offers}) == 2
    for name, node in federation.nodes.items():
        of_node = [offer for offer in offers if offer["federation"]["node"] == name]

        async def only_the_kept_are_held(
            node: NodeClient = node, expected: int = len(of_node)
        ) -> bool:
            return await holds_of(node) == expected

        await eventually(only_the_kept_are_held)
    for offer in offers:
        assert await federation.phase_at_node(offer) == "OFFERED"


async def test_a_node_is_asked_for_no_more_offers_than_are_kept_of_it(
    federation: Federation,
) -> None:
    """It would make two: one of them a hold that is let go at once."""
    await federation.gateway.ask(minimal_request(), "?per_node=1")

    for node in federation.nodes.values():
        metrics = (await node.text("/metrics")).splitlines()
        assert "execbroker_node_offers_total 1.0" in metrics


async def test_only_the_nodes_that_the_client_names_are_asked(federation: Federation) -> None:
    answer = await federation.gateway.ask(minimal_request(), "?nodes=beta,gamma")
    assert outcomes(answer.document) == {
        "alpha": "skipped",
        "beta": "answered",
        "gamma": "answered",
    }
    assert answer.document["federation"]["coverage"][0]["reason"]["code"] == "not_wanted"


async def test_a_node_that_does_not_exist_is_refused_with_the_names_that_do(
    federation: Federation,
) -> None:
    answer = await federation.gateway.ask(minimal_request(), "?nodes=alpha,delta")
    assert answer.status == 400
    assert "delta" in answer.document["detail"]
    assert "gamma" in answer.document["detail"]


async def test_the_policy_decides_the_order(federation: Federation) -> None:
    answer = await federation.gateway.ask(minimal_request(), "?policy=soonest")
    assert answer.document["federation"]["policy"] == "soonest"
    starts = [offer["schedule"]["available"]["start"] for offer in answer.document["offers"]]
    assert starts == sorted(starts)


async def test_an_unknown_policy_is_refused_with_those_that_exist(federation: Federation) -> None:
    answer = await federation.gateway.ask(minimal_request(), "?policy=luckiest")
    assert answer.status == 400
    assert "balanced" in answer.document["detail"]


async def test_an_answer_comes_as_soon_as_there_are_enough_offers(tmp_path: Path) -> None:
    async with (
        running(hangs_before_headers) as hung,
        running_federation(
            tmp_path,
            ("alpha",),
            others={"hung": hung.url},
            federation=FederationSettings(deadline_s=10, late_s=0.1),
        ) as running_one,
    ):
        async with asyncio.timeout(3):
            answer = await running_one.gateway.ask(minimal_request(), "?min_offers=2")
    assert outcomes(answer.document) == {"alpha": "answered", "hung": "late"}
    assert answer.document["federation"]["coverage"][1]["reason"]["code"] == "not_waited_for"


async def test_a_required_node_that_is_silent_fails_the_request_and_lets_all_go(
    tmp_path: Path,
) -> None:
    async with (
        running(hangs_before_headers) as hung,
        running_federation(tmp_path, ("alpha",), others={"hung": hung.url}) as running_one,
    ):
        answer = await running_one.gateway.ask(minimal_request(), "?require=hung", Prefer="wait=1")
        assert answer.status == 503
        assert "hung" in answer.document["detail"]
        assert answer.headers["Retry-After"]
        node = running_one.nodes["alpha"]

        async def nothing_is_held() -> bool:
            return await holds_of(node) == 0

        await eventually(nothing_is_held)


async def test_when_no_node_answers_it_is_no_no_but_a_problem(tmp_path: Path) -> None:
    with refuses() as refusing:
        async with (
            running(hangs_before_headers) as hung,
            running(answers_status("500 Internal Server Error")) as broken,
            running_gateway(
                {"broken": broken.url, "hung": hung.url, "refusing": refusing.url}, tmp_path
            ) as gateway,
        ):
            answer = await gateway.ask(minimal_request(), Prefer="wait=0.3")
    assert answer.status == 503
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert int(answer.headers["Retry-After"]) > 0
    found = {entry["node"]: entry["outcome"] for entry in answer.document["coverage"]}
    assert found == {"broken": "error", "hung": "timeout", "refusing": "refused"}


async def test_when_all_who_answer_say_no_the_result_is_no_with_everyones_reasons(
    tmp_path: Path,
) -> None:
    async with (
        running(says_no("the roof is on fire")) as one,
        running(says_no("closed on mondays")) as two,
        running_gateway({"one": one.url, "two": two.url}, tmp_path) as gateway,
    ):
        answer = await gateway.ask(minimal_request())
    assert answer.status == 303
    assert answer.document["result"] == "NO"
    said = {
        (message["values"]["node"], message["message"])
        for message in answer.document["meta"]["messages"]
    }
    assert ("one", "the roof is on fire") in said
    assert ("two", "closed on mondays") in said


@pytest.mark.parametrize("wait", ["wait=0.5", "wait=0.9"])
async def test_the_client_says_how_long_to_wait(tmp_path: Path, wait: str) -> None:
    async with (
        running(hangs_before_headers) as hung,
        running(healthy()) as good,
        running_gateway({"good": good.url, "hung": hung.url}, tmp_path) as gateway,
    ):
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await gateway.ask(minimal_request(), Prefer=wait)
        took_s = loop.time() - began
    asked_s = float(wait.partition("=")[2])
    assert answer.status == 303
    assert asked_s <= took_s < asked_s + 0.4


async def test_a_late_answer_joins_the_offer_set_and_is_ranked(tmp_path: Path) -> None:
    async with (
        running(answers_late(0.5, offers=1)) as late,
        running(healthy(1)) as good,
        running_gateway({"good": good.url, "late": late.url}, tmp_path) as gateway,
    ):
        answer = await gateway.ask(minimal_request(), Prefer="wait=0.2")
        assert outcomes(answer.document) == {"good": "answered", "late": "timeout"}
        first = answer.document["offers"][0]["meta"]["uuid"]
        path = f"/offersets/{answer.document['meta']['uuid']}"

        async def has_two() -> Document | None:
            document: Document = (await gateway.call("GET", path)).document
            return document if len(document["offers"]) == 2 else None

        document = await eventually(has_two)
    assert document is not None
    assert outcomes(document) == {"good": "answered", "late": "late"}
    assert first in {offer["meta"]["uuid"] for offer in document["offers"]}
    assert [offer["federation"]["rank"] for offer in document["offers"]] == [1, 2]


async def test_a_late_answer_finds_no_room_in_a_full_offer_set(tmp_path: Path) -> None:
    async with (
        running(answers_late(0.4, offers=1)) as late,
        running(healthy(1)) as good,
        running_gateway({"good": good.url, "late": late.url}, tmp_path) as gateway,
    ):
        answer = await gateway.ask(minimal_request(), "?limit=1", Prefer="wait=0.2")
        path = f"/offersets/{answer.document['meta']['uuid']}"

        async def is_covered() -> Document | None:
            document: Document = (await gateway.call("GET", path)).document
            return document if outcomes(document)["late"] == "late" else None

        document = await eventually(is_covered)
        assert document is not None
        assert document["offers"] == (await gateway.call("GET", path)).document["offers"]
        assert len(document["offers"]) == 1

        async def was_rejected() -> bool:
            return any(asked.path.startswith("/sessions/") for asked in late.asked)

        await eventually(was_rejected)


async def test_an_offer_given_twice_counts_once(tmp_path: Path) -> None:
    async with (
        running(doubles_an_offer()) as node,
        running_gateway({"node": node.url}, tmp_path) as gateway,
    ):
        answer = await gateway.ask(minimal_request())
    assert len(answer.document["offers"]) == 1


async def test_a_uuid_that_another_node_gave_is_refused(tmp_path: Path) -> None:
    reply = http_reply(healthy_answer(1))

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)

    async with (
        running(behave) as one,
        running(behave) as thief,
        running_gateway({"one": one.url, "thief": thief.url}, tmp_path) as gateway,
    ):
        first = await gateway.ask(minimal_request(), "?nodes=one")
        second = await gateway.ask(minimal_request(), "?nodes=thief")
    assert first.document["result"] == "YES"
    assert second.document["result"] == "NO"
    thief_says = next(e for e in second.document["federation"]["coverage"] if e["node"] == "thief")
    assert thief_says["offers"] == 0


async def test_a_kind_that_no_node_knows_is_a_no_and_is_remembered(federation: Federation) -> None:
    strange = {"kind": "urn:example:quantum-annealer"}
    first = await federation.gateway.ask(minimal_request(compute=strange))
    assert first.document["result"] == "NO"
    assert set(outcomes(first.document).values()) == {"no"}
    again = await federation.gateway.ask(minimal_request(compute=strange))
    assert set(outcomes(again.document).values()) == {"skipped"}
    assert again.document["result"] == "NO"
    usual = await federation.gateway.ask(minimal_request())
    assert set(outcomes(usual.document).values()) == {"answered"}


async def test_members_that_nobody_knows_reach_the_node_and_come_back(
    federation: Federation,
) -> None:
    request = minimal_request()
    request["executable"]["x-lab"] = {"notebook": [1, 2.5, "three", None]}
    answer = await federation.gateway.ask(request)
    assert answer.document["offers"][0]["executable"]["x-lab"] == request["executable"]["x-lab"]


async def test_limits_that_a_node_ignores_are_kept_by_the_gateway(tmp_path: Path) -> None:
    limit = {"kind": kinds.MINMAX_COST, "type": kinds.MONETARY_COST, "max": 0.01}
    async with (
        running(healthy()) as node,
        running_gateway({"node": node.url}, tmp_path) as gateway,
    ):
        answer = await gateway.ask(minimal_request(costs=[limit]))
    assert answer.document["result"] == "NO"
    entry = answer.document["federation"]["coverage"][0]
    assert entry["outcome"] == "answered"
    assert entry["reason"]["code"] == "no_fitting_offer"
    assert kinds.MONETARY_COST in entry["reason"]["text"]


async def test_a_time_that_means_nothing_definite_is_a_no_with_the_nodes_reason(
    federation: Federation,
) -> None:
    request = minimal_request(schedule={"requested": {"duration": "P1Y"}})
    answer = await federation.gateway.ask(request)
    assert answer.status == 303
    assert answer.document["result"] == "NO"
    assert set(outcomes(answer.document).values()) == {"no"}


async def test_asking_needs_credentials_and_reading_does_not(federation: Federation) -> None:
    nobody = await federation.gateway.call("POST", "/requests", minimal_request(), account=NOBODY)
    assert nobody.status == 401
    assert nobody.headers["WWW-Authenticate"] == 'Basic realm="Realm"'
    answer = await federation.gateway.ask(minimal_request())
    path = f"/offersets/{answer.document['meta']['uuid']}"
    assert (await federation.gateway.call("GET", path, account=NOBODY)).status == 200


async def test_options_are_offered_to_the_owner_alone(federation: Federation) -> None:
    answer = await federation.gateway.call("POST", "/requests", minimal_request(), account=ALICE)
    offer = answer.document["offers"][0]
    assert offer["meta"]["options"][0]["values"] == ["ACCEPTED", "REJECTED"]
    path = f"/sessions/{offer['meta']['uuid']}"
    stranger = await federation.gateway.call("GET", path, account=NOBODY)
    assert "options" not in stranger.document["meta"]


async def test_a_ring_of_gateways_ends_where_it_began(tmp_path: Path) -> None:
    async with (
        running(healthy()) as node,
        running_gateway({"node": node.url}, tmp_path) as gateway,
    ):
        answer = await gateway.ask(minimal_request(), Federation_Path="srcnet, gateway")
        assert answer.status == 303
        assert answer.document["result"] == "NO"
        entry = answer.document["federation"]["coverage"][0]
        assert (entry["outcome"], entry["reason"]["code"]) == ("skipped", "path_loop")
        assert node.asked == []


async def test_a_kind_that_a_node_knows_beyond_the_schema_comes_through(tmp_path: Path) -> None:
    strange = {"kind": "urn:example:quantum-annealer", "qubits": 7}
    offer = offer_document() | {"compute": strange}
    session = json.dumps(offer | {"phase": "ACCEPTED"}).encode()

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.path.startswith("/requests"):
            writer.write(http_reply(json.dumps(offerset_document([offer])).encode()))
        else:
            writer.write(http_reply(session, status="200 OK"))

    request = minimal_request(compute=strange, schedule={})
    async with (
        running(behave) as node,
        running_gateway({"node": node.url}, tmp_path) as gateway,
    ):
        usual = await gateway.ask(minimal_request())
        assert usual.status == 503
        assert usual.document["coverage"][0]["outcome"] == "invalid"
    async with (
        running(behave) as node,
        running_gateway({"node": node.url}, tmp_path / "again") as gateway,
    ):
        answer = await gateway.ask(request)
        assert answer.document["result"] == "YES"
        given = answer.document["offers"][0]
        assert given["compute"] == strange
        moved = await gateway.move(given["meta"]["uuid"], "ACCEPTED")
        assert moved.document["phase"] == "ACCEPTED"
        assert moved.document["compute"] == strange
