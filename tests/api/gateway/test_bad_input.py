"""What the gateway answers to the wrong callers, paths, methods, queries and headers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.api.gateway.conftest import Federation, running_federation
from tests.support.gateway import FEDERATION, GatewayUnderTest
from tests.support.node import ALICE, BOB, NOBODY, Account
from tests.support.problems import SOME_UUID, pointers, problem
from tests.support.requests import minimal_request

WRONG: Final = Account("alice", "not-her-password")
STRANGER: Final = Account("nobody-knows-me", "x")
COLLECTIONS: Final = [
    "offersets", "sessions", "executables", "compute", "storage", "data", "volumes",
]  # fmt: skip


@pytest.fixture
async def federation(tmp_path: Path) -> AsyncIterator[Federation]:
    async with running_federation(tmp_path, ("alpha",), federation=FEDERATION) as running:
        yield running


@pytest.fixture
def gateway(federation: Federation) -> GatewayUnderTest:
    return federation.gateway


@pytest.mark.parametrize("path", ["/requests", "/direct"])
async def test_a_request_without_credentials_is_401_with_a_challenge(
    gateway: GatewayUnderTest, path: str
) -> None:
    answer = await gateway.call("POST", path, minimal_request(), account=NOBODY)
    problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="Realm"'


async def test_an_update_without_credentials_is_401(gateway: GatewayUnderTest) -> None:
    problem(await gateway.move(SOME_UUID, "ACCEPTED", account=NOBODY), 401)


@pytest.mark.parametrize("account", [WRONG, STRANGER])
async def test_wrong_credentials_are_401_even_on_a_public_read(
    gateway: GatewayUnderTest, account: Account
) -> None:
    offerset = (await gateway.ask(minimal_request())).document
    for path in ("/nodes", f"/offersets/{offerset['meta']['uuid']}", f"/sessions/{SOME_UUID}"):
        answer = await gateway.call("GET", path, account=account)
        problem(answer, 401)
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="Realm"'


@pytest.mark.parametrize("header", ["Bearer x", "Basic", "Basic !!!", "Basic bm9jb2xvbg==", ""])
async def test_credentials_that_cannot_be_read_are_401(
    gateway: GatewayUnderTest, header: str
) -> None:
    answer = await gateway.call("GET", "/nodes", account=NOBODY, Authorization=header)
    problem(answer, 401)


async def test_an_update_by_somebody_else_is_403(gateway: GatewayUnderTest) -> None:
    answer = await gateway.call("POST", "/requests", minimal_request(), account=ALICE)
    uuid = answer.document["offers"][0]["meta"]["uuid"]
    problem(await gateway.move(uuid, "ACCEPTED", account=BOB), 403)


async def test_an_unknown_uuid_is_404(gateway: GatewayUnderTest) -> None:
    for collection in COLLECTIONS:
        problem(await gateway.call("GET", f"/{collection}/{SOME_UUID}"), 404)


async def test_an_update_of_an_unknown_session_is_404(gateway: GatewayUnderTest) -> None:
    problem(await gateway.move(SOME_UUID, "ACCEPTED"), 404)


@pytest.mark.parametrize("uuid", ["not-a-uuid", "1", "%00", "a" * 36, "%0A"])
async def test_a_malformed_uuid_is_400(gateway: GatewayUnderTest, uuid: str) -> None:
    for collection in COLLECTIONS:
        problem(await gateway.call("GET", f"/{collection}/{uuid}"), 400)


async def test_an_update_of_a_malformed_uuid_is_400(gateway: GatewayUnderTest) -> None:
    problem(await gateway.move("not-a-uuid", "ACCEPTED"), 400)


async def test_a_path_that_is_not_served_is_404(gateway: GatewayUnderTest) -> None:
    for path in ("/", "/nothing", "/sessions/", "/requests/x"):
        problem(await gateway.call("GET", path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/requests", "OPTIONS, POST"),
        ("HEAD", "/requests", "OPTIONS, POST"),
        ("GET", "/direct", "OPTIONS, POST"),
        ("PUT", "/admin/identities", "GET, HEAD, OPTIONS, POST"),
        ("PUT", f"/sessions/{SOME_UUID}", "GET, HEAD, OPTIONS, POST"),
        ("DELETE", f"/sessions/{SOME_UUID}", "GET, HEAD, OPTIONS, POST"),
        ("PATCH", f"/offersets/{SOME_UUID}", "GET, HEAD, OPTIONS"),
        ("POST", "/reasons", "GET, HEAD, OPTIONS"),
    ],
)
async def test_another_method_is_405_and_names_the_right_ones(
    gateway: GatewayUnderTest, method: str, path: str, allowed: str
) -> None:
    answer = await gateway.call(method, path)
    assert answer.status == 405
    assert answer.headers["Allow"] == allowed
    if method != "HEAD":
        problem(answer, 405)


async def test_options_names_the_methods(gateway: GatewayUnderTest) -> None:
    answer = await gateway.call("OPTIONS", "/requests")
    assert (answer.status, answer.headers["Allow"]) == (204, "OPTIONS, POST")


async def test_head_is_get_without_a_body(gateway: GatewayUnderTest) -> None:
    answer = await gateway.call("HEAD", "/nodes")
    assert (answer.status, answer.text) == (200, "")
    assert int(answer.headers["Content-Length"]) > 0


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("limit=1&limit=2", "limit"),
        ("per_node=-1", "per_node"),
        ("per_node=1.5", "per_node"),
        ("min_offers=", "min_offers"),
        ("unknown=1", "unknown"),
    ],
)
@pytest.mark.parametrize("path", ["/requests", "/direct"])
async def test_a_bad_query_is_400_and_names_the_parameter(
    gateway: GatewayUnderTest, path: str, query: str, name: str
) -> None:
    document = problem(await gateway.call("POST", f"{path}?{query}", minimal_request()), 400)
    assert pointers(document) == [f"/{name}"]


@pytest.mark.parametrize("query", ["nodes=delta", "require=delta", "nodes=alpha,delta"])
async def test_a_node_that_is_not_registered_is_400(gateway: GatewayUnderTest, query: str) -> None:
    document = problem(await gateway.ask(minimal_request(), f"?{query}"), 400)
    assert "delta" in document["detail"]


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_an_idempotency_key_of_no_sensible_length_is_400(
    gateway: GatewayUnderTest, key: str
) -> None:
    document = problem(await gateway.ask(minimal_request(), Idempotency_Key=key), 400)
    assert "Idempotency-Key" in document["detail"]


@pytest.mark.parametrize("budget", ["", "soon", "-1", "1.5", "1e3", "²", "9" * 10])
async def test_a_budget_that_is_no_number_of_milliseconds_is_400(
    gateway: GatewayUnderTest, budget: str
) -> None:
    document = problem(await gateway.ask(minimal_request(), Federation_Budget_Ms=budget), 400)
    assert "Federation-Budget-Ms" in document["detail"]


@pytest.mark.parametrize(
    "prefer", ["wait=soon", "wait=-1", "wait=nan", "wait=inf", "handling=?", ";;", "x", 'wait="']
)
async def test_a_preference_that_makes_no_sense_is_no_preference(
    gateway: GatewayUnderTest, prefer: str
) -> None:
    assert (await gateway.ask(minimal_request(), Prefer=prefer)).status == 303


async def test_a_host_that_is_none_is_400_and_gets_into_no_answer(
    gateway: GatewayUnderTest,
) -> None:
    answer = await gateway.ask(minimal_request(), Host='evil"><script>')
    problem(answer, 400)
    assert "script" not in answer.text
