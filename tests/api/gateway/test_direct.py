"""Executing directly through the gateway."""

from pathlib import Path

from gateway.wire import kinds
from tests.api.gateway.conftest import Federation
from tests.api.gateway.test_acceptance import UNDERWAY, is_update, line, message_kinds
from tests.support.faulty_nodes import answers_unchanged_to_accept, refuses, running, says_no
from tests.support.gateway import running_gateway
from tests.support.node import ADMIN, node_settings, running_node
from tests.support.proxy import Weather, running_proxy
from tests.support.requests import minimal_request


async def test_a_direct_request_ends_in_an_accepted_session(federation: Federation) -> None:
    answer = await federation.gateway.call("POST", "/direct", minimal_request())
    assert answer.status == 303, answer.text
    uuid = answer.document["meta"]["uuid"]
    assert answer.headers["Location"] == f"{federation.gateway.url}/sessions/{uuid}"
    assert answer.document["phase"] in UNDERWAY
    await federation.becomes(answer.document, "COMPLETED")


async def test_a_direct_session_can_be_cancelled_at_once(federation: Federation) -> None:
    answer = await federation.gateway.call("POST", "/direct", minimal_request())
    cancelled = await federation.gateway.move(answer.document["meta"]["uuid"], "CANCELLED")
    assert cancelled.document["phase"] == "CANCELLED"


async def test_what_nobody_executes_is_a_failed_session_that_says_why(
    federation: Federation,
) -> None:
    request = minimal_request(compute={"kind": kinds.SIMPLE_COMPUTE, "cores": {"min": 5000}})
    answer = await federation.gateway.call("POST", "/direct", request)
    assert answer.status == 400
    assert answer.document["kind"] == kinds.SCHEDULED_SESSION
    assert answer.document["phase"] == "FAILED"
    assert "urn:no-node-executes" in message_kinds(answer.document)
    assert "urn:resource-limit" in message_kinds(answer.document)


async def test_a_node_that_withdraws_its_offer_is_passed_over(tmp_path: Path) -> None:
    async with (
        running(answers_unchanged_to_accept()) as stubborn,
        running_node(tmp_path, node_settings()) as node,
        running_gateway(
            {"stubborn": stubborn.url, "zeta": node.url}, tmp_path / "gateway"
        ) as gateway,
    ):
        # Only the canned offer says what it costs, so it ranks first.
        answer = await gateway.call("POST", "/direct?policy=cheapest", minimal_request())
        assert answer.status == 303, answer.text
        assert answer.document["federation"]["node"] == "zeta"
        assert "urn:accept-attempt" in message_kinds(answer.document)


async def test_a_node_that_cannot_be_reached_any_more_is_passed_over(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path / "a", node_settings(name="alpha")) as alpha,
        running_node(tmp_path / "b", node_settings(name="beta")) as beta,
        running_proxy(alpha.url) as proxy,
        running_gateway({"alpha": proxy.url, "beta": beta.url}, tmp_path / "g") as gateway,
    ):
        proxy.applies_to = lambda request: request.path == "/requests"
        proxy.weather = Weather.LEAVES
        answer = await gateway.call("POST", "/direct", minimal_request())
        assert answer.status == 303, answer.text
        assert answer.document["federation"]["node"] == "beta"
        assert "urn:accept-attempt" in message_kinds(answer.document)


async def test_a_direct_request_whose_acceptance_is_unsure_starts_nothing_else(
    tmp_path: Path,
) -> None:
    async with line(tmp_path) as one:
        one.proxy.applies_to = is_update
        one.proxy.weather = Weather.FAILS
        answer = await one.gateway.call("POST", "/direct", minimal_request())
        assert answer.status == 303, answer.text
        assert answer.document["phase"] == "OFFERED"
        assert "urn:command-pending" in message_kinds(answer.document)
        one.proxy.weather = Weather.FINE
        await one.shows(answer.document["meta"]["uuid"], "COMPLETED")


async def test_a_direct_request_that_no_node_answers_is_a_problem(tmp_path: Path) -> None:
    with refuses() as refusing:
        async with running_gateway({"away": refusing.url}, tmp_path) as gateway:
            answer = await gateway.call("POST", "/direct", minimal_request())
    assert answer.status == 503
    assert answer.headers["Retry-After"]


async def test_a_direct_request_that_all_refuse_names_their_reasons(tmp_path: Path) -> None:
    async with (
        running(says_no("closed")) as node,
        running_gateway({"node": node.url}, tmp_path) as gateway,
    ):
        answer = await gateway.call("POST", "/direct", minimal_request(), account=ADMIN)
    assert answer.status == 400
    assert "closed" in [message["message"] for message in answer.document["meta"]["messages"]]
