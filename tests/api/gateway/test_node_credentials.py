"""What nodes are shown of the gateway and its callers: tokens, exchanges, and what stands in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.httpkit.server_settings import AuthenticationSettings
from gateway.sections.credentials import (
    BasicSettings,
    ClientCredentialsSettings,
    CredentialsSettings,
    PassThroughSettings,
    SrcnetExchangeSettings,
    TokenExchangeSettings,
)
from gateway.wire.secret import Secret
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.node import ALICE, BOB
from tests.support.requests import minimal_request
from tests.support.token_service import (
    PickyNode,
    TokenService,
    running_picky_node,
    running_token_service,
)

BASIC = "Basic aGVhZDpwdw=="
SUBJECT = {"Authorization": "Bearer users-own-token"}
UNAUTHENTICATED: dict[str, Any] = {"authentication": AuthenticationSettings(enabled=False)}
"""The gateway looks at nobody's token itself."""


@asynccontextmanager
async def gateway_over(
    node: PickyNode, folder: Path, *credentials: CredentialsSettings, **more: Any
) -> AsyncIterator[GatewayUnderTest]:
    options = {"alpha": {"credentials": credentials}}
    async with running_gateway({"alpha": node.url}, folder, node_options=options, **more) as one:
        yield one


def own_token(service: TokenService) -> ClientCredentialsSettings:
    return ClientCredentialsSettings(
        token_url=f"{service.url}/token",
        client_id="head",
        client_secret=Secret("s3cret"),
        audience="node-alpha",
        scope="broker",
    )


def service_account() -> BasicSettings:
    return BasicSettings(username="head", password=Secret("pw"))


@pytest.fixture
async def tokens() -> AsyncIterator[TokenService]:
    async with running_token_service() as service:
        yield service


async def outcome(gateway: GatewayUnderTest, **headers: Any) -> tuple[str, str | None]:
    answer = await gateway.ask(minimal_request(), **headers)
    if answer.status == 503:
        [entry] = answer.document["coverage"]
    else:
        [entry] = answer.document["federation"]["coverage"]
    return entry["outcome"], (entry["reason"] or {}).get("code")


async def test_the_gateways_own_token_is_fetched_once_and_kept(
    tokens: TokenService, tmp_path: Path
) -> None:
    async with (
        running_picky_node("Bearer t1") as node,
        gateway_over(node, tmp_path, own_token(tokens)) as gateway,
    ):
        answers = await asyncio.gather(*(outcome(gateway) for _ in range(5)))
        assert answers == [("answered", None)] * 5
        assert tokens.given == 1
        assert tokens.forms == [
            {"grant_type": "client_credentials", "audience": "node-alpha", "scope": "broker"}
        ]
        assert set(node.seen) == {"Bearer t1"}


async def test_a_token_is_renewed_before_it_ends(tokens: TokenService, tmp_path: Path) -> None:
    tokens.life_s = 0.2  # renewed at half of so short a life
    async with (
        running_picky_node("Bearer t1", "Bearer t2") as node,
        gateway_over(node, tmp_path, own_token(tokens)) as gateway,
    ):
        assert await outcome(gateway) == ("answered", None)
        tokens.life_s = 3600
        for _ in range(3):
            await asyncio.sleep(0.05)
        assert await outcome(gateway) == ("answered", None)
        assert "Bearer t2" in node.seen


async def test_a_token_that_the_node_refuses_is_replaced_once(
    tokens: TokenService, tmp_path: Path
) -> None:
    async with (
        running_picky_node("Bearer t2") as node,
        gateway_over(node, tmp_path, own_token(tokens)) as gateway,
    ):
        assert await outcome(gateway) == ("answered", None)
        offers = [header for header in node.seen if header]
        assert offers[:2] == ["Bearer t1", "Bearer t2"]
        node.good.clear()
        assert await outcome(gateway) == ("error", "refused_credentials")


async def test_a_token_service_in_trouble_is_named_and_waited_for_no_longer_than_the_request(
    tokens: TokenService, tmp_path: Path
) -> None:
    async with (
        running_picky_node() as node,
        gateway_over(node, tmp_path, own_token(tokens)) as gateway,
    ):
        tokens.refusal = 401
        assert await outcome(gateway) == ("error", "no_credentials")
        tokens.refusal, tokens.delay_s = None, 5.0
        took = asyncio.get_running_loop().time()
        assert (await outcome(gateway, prefer="wait=0.5"))[0] in {"timeout", "late", "error"}
        assert asyncio.get_running_loop().time() - took < 4.0
        assert node.seen == [], "a node is not asked with nothing to show"


async def test_the_callers_token_is_exchanged_for_one_of_the_nodes(
    tokens: TokenService, tmp_path: Path
) -> None:
    exchange = TokenExchangeSettings(
        token_url=f"{tokens.url}/token",
        client_id="head",
        client_secret=Secret("s3cret"),
        audience="node-alpha",
    )
    async with (
        running_picky_node("Bearer t1", "Bearer t2") as node,
        gateway_over(node, tmp_path, exchange, **UNAUTHENTICATED) as gateway,
    ):
        for _ in range(2):
            assert await outcome(gateway, **SUBJECT) == ("answered", None)
        assert await outcome(gateway, Authorization="Bearer anothers") == ("answered", None)
        assert [form["subject_token"] for form in tokens.forms] == ["users-own-token", "anothers"]
        assert tokens.forms[0]["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange"
        assert "Bearer users-own-token" not in node.seen


@pytest.mark.parametrize("is_nested", [True, False])
async def test_srcnets_service_exchanges_by_the_name_of_the_service(
    tokens: TokenService, tmp_path: Path, is_nested: bool
) -> None:
    tokens.is_nested = is_nested
    exchange = SrcnetExchangeSettings(url=tokens.url, service="execution-broker-alpha")
    async with (
        running_picky_node("Bearer t1") as node,
        gateway_over(node, tmp_path, exchange, **UNAUTHENTICATED) as gateway,
    ):
        assert await outcome(gateway, **SUBJECT) == ("answered", None)
        [query] = tokens.queries
        assert query["service"] == "execution-broker-alpha"
        assert query["access_token"] == "users-own-token"


async def test_what_comes_next_in_the_list_stands_in(tokens: TokenService, tmp_path: Path) -> None:
    exchange = SrcnetExchangeSettings(url=tokens.url, service="alpha")
    async with (
        running_picky_node("Bearer t1", BASIC) as node,
        gateway_over(node, tmp_path, exchange, service_account(), **UNAUTHENTICATED) as gateway,
    ):
        assert await outcome(gateway, **SUBJECT) == ("answered", None)
        assert node.seen[-1] == "Bearer t1"
        assert await outcome(gateway) == ("answered", None), "there is no token to exchange"
        assert node.seen[-1] == BASIC
        tokens.refusal = 403
        assert await outcome(gateway, Authorization="Bearer unknown") == ("answered", None)
        assert node.seen[-1] == BASIC


async def test_pass_through_falls_back_where_nobody_calls(
    tokens: TokenService, tmp_path: Path
) -> None:
    async with (
        running_picky_node(ALICE.headers["Authorization"], BASIC, "Bearer t1") as node,
        gateway_over(node, tmp_path, PassThroughSettings(), own_token(tokens)) as gateway,
    ):
        assert await outcome(gateway, account=ALICE) == ("answered", None)
        assert node.seen[0] == ALICE.headers["Authorization"]
        assert await outcome(gateway, account=BOB) == ("error", "refused_credentials")
        assert tokens.given == 0, "what the caller shows is not replaced by what the gateway may do"


async def test_no_token_is_in_logs_errors_or_the_database(
    tokens: TokenService, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exchange = SrcnetExchangeSettings(url=tokens.url, service="alpha")
    async with (
        running_picky_node("Bearer t1") as node,
        gateway_over(node, tmp_path, exchange, **UNAUTHENTICATED) as gateway,
    ):
        await outcome(gateway, **SUBJECT)
        tokens.refusal = 500
        refused = await gateway.ask(minimal_request(), Authorization="Bearer secret-two")
        assert "secret-two" not in refused.text
    said = capfd.readouterr()
    kept = _all_bytes(tmp_path)
    for secret in ("users-own-token", "secret-two", "Bearer t1"):
        assert secret not in said.out + said.err
        assert secret.encode() not in kept


def _all_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
