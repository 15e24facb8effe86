"""Whoever has no right to be in the federation stays out, and learns and spoils nothing."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import ClassVar

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.clients.addresses import AddressGuard
from gateway.clients.exchange import NodeUnreachableError, StreamTimeouts, Timeouts
from gateway.clients.node_proving import (
    MAX_CAPABILITIES_BYTES,
    MAX_PROOF_BYTES,
    NodeProver,
)
from gateway.clients.proof import ProvingError
from gateway.clients.transports import transport_of
from gateway.services.registration_tokens import MAX_ATTEMPTS
from gateway.settings import RegistrationSettings, TransportSettings, TransportType
from gateway.wire.documents import Document
from tests.support.gateway import Answer, GatewayUnderTest, running_gateway
from tests.support.members import (
    LOCAL,
    Member,
    bearing,
    join,
    mint,
    running_member,
    to_text,
)
from tests.support.node import ALICE, NOBODY
from tests.support.problems import problem
from tests.support.raw_server import Line, speaking

LOCALLY = AddressGuard(may_be_private=True)
KEY = b"k" * 32


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayUnderTest]:
    async with running_gateway({}, tmp_path, registration=LOCAL) as running:
        yield running


@pytest.fixture
async def member() -> AsyncIterator[Member]:
    async with running_member() as running:
        yield running


@pytest.fixture
async def thief() -> AsyncIterator[Member]:
    async with running_member() as running:
        yield running


async def names(gateway: GatewayUnderTest) -> list[str]:
    return [node["name"] for node in (await gateway.call("GET", "/nodes")).document["nodes"]]


async def register(gateway: GatewayUnderTest, token: str, document: Document) -> Answer:
    return await bearing(gateway, token, "POST", "/nodes", document)


# -- tokens -------------------------------------------------------------------------------------


async def test_a_replayed_token_opens_nothing(
    gateway: GatewayUnderTest, member: Member, thief: Member
) -> None:
    token = await mint(gateway)
    joined = await register(gateway, token, member.registration())
    assert joined.status == 201
    for name in ("beta", "alpha"):
        problem(await register(gateway, token, thief.registration(name)), 401)
    assert thief.asked == []
    credential = joined.document["credential"]
    assert (await bearing(gateway, credential, "PUT", "/nodes/alpha/lease", {})).status == 200
    # Renewed once: from now on it is not even good for what it was used for.
    problem(await register(gateway, token, member.registration()), 401)
    assert await names(gateway) == ["alpha"]
    assert (await gateway.call("GET", "/nodes/alpha")).document["url"] == member.url


async def test_tokens_that_are_unknown_used_up_or_over_are_refused_with_one_text(
    gateway: GatewayUnderTest, member: Member
) -> None:
    over = await mint(gateway, expires_s=1)
    used = await mint(gateway)
    first = await register(gateway, used, member.registration())
    await bearing(gateway, first.document["credential"], "PUT", "/nodes/alpha/lease", {})
    texts = set()
    for token in (used, "ebr_" + "x" * 43, "ebr_", "ebr_\udcff"):
        texts.add(problem(await register(gateway, token, member.registration()), 401)["detail"])

    async def is_over() -> bool:
        answer = await register(gateway, over, {})
        if answer.status == 401:
            texts.add(answer.document["detail"])
        return answer.status == 401

    deadline = asyncio.get_running_loop().time() + 5
    while not await is_over():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)
    assert len(texts) == 1


async def test_a_token_for_one_name_is_good_for_no_other(
    gateway: GatewayUnderTest, thief: Member
) -> None:
    token = await mint(gateway, name="alpha")
    problem(await register(gateway, token, thief.registration("beta")), 403)
    assert thief.asked == []


async def test_a_refused_registration_does_not_use_up_its_token_but_only_so_often(
    gateway: GatewayUnderTest, member: Member
) -> None:
    token = await mint(gateway)
    document = member.registration()
    member.key = b"another"
    for _ in range(MAX_ATTEMPTS - 1):
        problem(await register(gateway, token, document), 422)
    asked = len(member.asked)
    problem(await register(gateway, token, document), 422)
    assert len(member.asked) == asked + 1
    problem(await register(gateway, token, member.registration()), 401)
    assert len(member.asked) == asked + 1


async def test_one_token_used_ten_times_at_once_lets_one_node_in(
    gateway: GatewayUnderTest, member: Member
) -> None:
    token = await mint(gateway)
    document = member.registration("n0")
    wishes = [document | {"name": f"n{number}"} for number in range(10)]
    answers = await asyncio.gather(*(register(gateway, token, wish) for wish in wishes))
    assert sorted(answer.status for answer in answers) == [201] + [401] * 9
    assert len(await names(gateway)) == 1


async def test_who_may_read_the_database_can_use_no_token_and_no_credential(
    tmp_path: Path, member: Member
) -> None:
    async with running_gateway({}, tmp_path, registration=LOCAL) as gateway:
        token = await mint(gateway)
        spare = await mint(gateway)
        credential = (await register(gateway, token, member.registration())).document["credential"]
    kept = contents(tmp_path)
    assert kept
    for secret in (token, spare, credential):
        assert secret.encode() not in kept
        assert secret[4:].encode() not in kept


def contents(data_dir: Path) -> bytes:
    """All that the database has on disk."""
    return b"".join(file.read_bytes() for file in data_dir.glob("gateway.db*"))


# -- names --------------------------------------------------------------------------------------


async def test_a_stolen_name_is_refused(
    gateway: GatewayUnderTest, member: Member, thief: Member
) -> None:
    await join(gateway, member)
    answer = await register(gateway, await mint(gateway), thief.registration("alpha"))
    assert "taken" in problem(answer, 409)["title"]
    # Nor once the node is away: its name is its own as long as its credential holds.
    await gateway.call("DELETE", "/nodes/alpha")
    problem(await register(gateway, await mint(gateway), thief.registration("alpha")), 409)
    assert thief.asked == []


async def test_a_name_from_the_settings_is_nobody_elses(tmp_path: Path, thief: Member) -> None:
    nodes = {"alpha": "http://127.0.0.1:1"}
    async with running_gateway(nodes, tmp_path, registration=LOCAL) as gateway:
        token = await mint(gateway, name="alpha")
        problem(await register(gateway, token, thief.registration("alpha")), 409)
        problem(await gateway.call("DELETE", "/nodes/alpha"), 409)


# -- credentials --------------------------------------------------------------------------------


async def test_the_credential_of_another_node_is_good_for_nothing(
    gateway: GatewayUnderTest, member: Member, thief: Member
) -> None:
    await join(gateway, member)
    other = await join(gateway, thief, "beta")
    for method, path, document in (
        ("PUT", "/nodes/alpha/lease", {"draining": True}),
        ("PATCH", "/nodes/alpha", {"draining": True}),
        ("DELETE", "/nodes/alpha", None),
        ("POST", "/nodes", thief.registration("alpha")),
        ("GET", "/nodes", None),
        ("GET", "/nodes/alpha", None),
        ("POST", "/requests", {}),
        ("GET", "/admin/registration-tokens", None),
    ):
        problem(await bearing(gateway, other, method, path, document), 403)
    node = (await gateway.call("GET", "/nodes/alpha")).document
    assert (node["state"], node["url"]) == ("up", member.url)


async def test_nobody_without_a_nodes_credential_renews_its_lease(
    gateway: GatewayUnderTest, member: Member
) -> None:
    await join(gateway, member)
    token = await mint(gateway)
    path = "/nodes/alpha/lease"
    problem(await gateway.call("PUT", path, {}, account=NOBODY), 401)
    problem(await gateway.call("PUT", path, {}, account=ALICE), 403)
    problem(await gateway.call("PUT", path, {}), 403)
    problem(await bearing(gateway, token, "PUT", path, {}), 403)
    problem(await bearing(gateway, "ebn_" + "x" * 43, "PUT", path, {}), 401)


# -- URLs ---------------------------------------------------------------------------------------


async def test_the_url_of_somebody_else_is_refused(
    gateway: GatewayUnderTest, member: Member, thief: Member
) -> None:
    """Who serves it does not know the key; nor does it help to register there at the same time."""
    await join(gateway, member)
    claim = thief.registration("beta") | {"url": member.url}
    answer = await register(gateway, await mint(gateway), claim)
    assert "somebody else" in problem(answer, 422)["detail"]
    assert await names(gateway) == ["alpha"]


async def test_an_answer_to_one_challenge_is_none_to_another(
    gateway: GatewayUnderTest, thief: Member
) -> None:
    async def say_again(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"response": to_text(b"x" * 32)})

    thief.challenge = say_again
    problem(await register(gateway, await mint(gateway), thief.registration()), 422)


async def test_a_private_address_is_refused_unless_it_is_allowed(
    tmp_path: Path, thief: Member
) -> None:
    strict = RegistrationSettings()
    async with running_gateway({}, tmp_path, registration=strict) as gateway:
        token = await mint(gateway)
        port = thief.url.rpartition(":")[2]
        for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433"):
            claim = thief.registration() | {"url": f"http://{host}:{port}"}
            detail = problem(await register(gateway, token, claim), 422)["detail"]
            assert "private" in detail or "cannot be read" in detail, (host, detail)
            assert "127.0.0.1" not in detail.replace(host, "")
        assert thief.asked == []
        assert await names(gateway) == []


async def test_link_local_addresses_are_never_allowed() -> None:
    """Where clouds give out credentials to whoever asks."""
    prover = NodeProver(LOCALLY, wait_s=2.0)
    for host in (
        "169.254.169.254",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "0.0.0.0",
        "224.0.0.1",
    ):
        with pytest.raises(ProvingError, match="private, local or reserved"):
            await prover.prove(f"http://{host}", KEY)


class _Rebinding(AbstractResolver):
    """Says a public address first, and this machine's own from then on."""

    asked: ClassVar[int] = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family
        cls = type(self)
        cls.asked += 1
        address = "1.1.1.1" if cls.asked == 1 else "127.0.0.1"
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        return


async def test_a_name_that_means_something_else_the_second_time_gains_nothing(
    thief: Member,
) -> None:
    port = thief.url.rpartition(":")[2]
    _Rebinding.asked = 1  # the first look, the innocent one, is behind us
    prover = NodeProver(AddressGuard(), resolver=_Rebinding, wait_s=2.0)
    with pytest.raises(ProvingError, match="private, local or reserved"):
        await prover.prove(f"http://rebinding.example:{port}", KEY)
    assert thief.asked == []


@pytest.mark.parametrize("kind", list(TransportType))
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_nor_does_one_that_comes_to_mean_a_private_address_after_the_registration(
    thief: Member, kind: TransportType, host: str
) -> None:
    """Each new connection is checked, and streams are."""
    url = f"http://{host}:{thief.url.rpartition(':')[2]}/capabilities"
    async with transport_of(TransportSettings(type=kind), AddressGuard()) as transport:
        until = asyncio.get_running_loop().time() + 5.0
        with pytest.raises(NodeUnreachableError):
            await transport.exchange("GET", url, {}, timeouts=Timeouts(until, 5.0))
        with pytest.raises(NodeUnreachableError):
            async with transport.open_stream("GET", url, {}, timeouts=StreamTimeouts(5, 5, 5)):
                pass
    assert thief.asked == []


async def test_a_redirect_is_not_followed(
    gateway: GatewayUnderTest, member: Member, thief: Member
) -> None:
    async def elsewhere(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(member.url + request.path)

    document = thief.registration()
    thief.challenge = elsewhere
    member.key, member.url = thief.key, member.url
    answer = await register(gateway, await mint(gateway), document)
    assert "302" in problem(answer, 422)["detail"]
    assert member.asked == []


# -- answers that are too much ------------------------------------------------------------------


async def test_a_huge_capability_document_is_refused(
    gateway: GatewayUnderTest, member: Member
) -> None:
    token = await mint(gateway)
    member.capabilities["padding"] = "x" * (MAX_CAPABILITIES_BYTES + 1)
    answer = await register(gateway, token, member.registration())
    assert f"more than {MAX_CAPABILITIES_BYTES} bytes" in problem(answer, 422)["detail"]
    del member.capabilities["padding"]
    for broken in (
        {"kinds": ["k"] * 1001},
        {"limits": 3},
        {"version": 2},
        {"limits": {"cores": -1}},
    ):
        right = dict(member.capabilities)
        member.capabilities = right | broken
        answer = await register(gateway, token, member.registration())
        assert "cannot be used" in problem(answer, 422)["detail"]
        member.capabilities = right
    assert (await register(gateway, token, member.registration())).status == 201


async def _endless(line: Line) -> None:
    await line.request()
    await line.say(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{")
    while True:
        await line.say(b" " * 1024)


async def _dripping(line: Line) -> None:
    await line.request()
    await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    while True:
        await line.say(b" ")
        await asyncio.sleep(0.02)


async def _silent(line: Line) -> None:
    await line.request()
    await asyncio.sleep(3600)


async def _garbage(line: Line) -> None:
    await line.request()
    await line.say(b"\x00\xff not http\r\n\r\n")


async def _deep(line: Line) -> None:
    await line.request()
    body = b"[" * 2000
    await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)


@pytest.mark.parametrize(
    ("talk", "why"),
    [
        (_endless, f"more than {MAX_PROOF_BYTES} bytes"),
        (_dripping, "did not answer within"),
        (_silent, "did not answer within"),
        (_garbage, "cannot be read"),
        (_deep, "not JSON"),
    ],
)
async def test_an_answer_without_end_or_sense_costs_little_time_and_memory(
    talk: Callable[[Line], Awaitable[None]], why: str
) -> None:
    prover = NodeProver(LOCALLY, wait_s=0.5)
    loop = asyncio.get_running_loop()
    async with speaking(talk) as server:
        began = loop.time()
        with pytest.raises(ProvingError, match=why):
            await prover.prove(server.url, KEY)
        assert loop.time() - began < 3.0
