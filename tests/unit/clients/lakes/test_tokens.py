"""Tokens: taken once, shared, renewed in time, and once when refused."""

import asyncio
import base64
import json
from urllib.parse import parse_qs

import pytest

from gateway.clients.lakes.authorized import AuthorizedCaller
from gateway.clients.lakes.connections import LakeConnections
from gateway.clients.lakes.errors import (
    LakeBusyError,
    LakeCredentialsError,
    LakeInvalidAnswerError,
    LakeTimeoutError,
)
from gateway.clients.lakes.tokens import (
    DEFAULT_LIFE_S,
    ClientCredentials,
    FixedToken,
    RucioLogin,
    Token,
    TokenCache,
)
from gateway.wire.secret import Secret
from tests.support.faulty_nodes import Asked, http_reply, running
from tests.support.lake_stubs import StubRucio, answering, fails, hangs, in_s, says


class Counting:
    """Gives out `token-1`, `token-2`, …, each after a moment."""

    def __init__(self, life_s: float | None) -> None:
        self.life_s = life_s
        self.count = 0

    async def fetch(self, *, deadline: float) -> Token:
        del deadline
        await asyncio.sleep(0.01)
        self.count += 1
        return Token(f"token-{self.count}", self.life_s)


def login(connections: LakeConnections, url: str) -> RucioLogin:
    return RucioLogin(
        connections=connections, url=url, account="root", username="u", password=Secret("s3cr3t")
    )


async def test_fifty_at_once_take_one_token() -> None:
    source = Counting(3600)
    tokens = TokenCache(source)
    taken = await asyncio.gather(*(tokens.get(deadline=in_s(1)) for _ in range(50)))
    assert set(taken) == {"token-1"}
    assert source.count == 1


async def test_a_token_is_renewed_before_it_ends() -> None:
    source = Counting(0.1)
    tokens = TokenCache(source)
    assert await tokens.get(deadline=in_s(1)) == "token-1"
    assert await tokens.get(deadline=in_s(1)) == "token-1"
    await asyncio.sleep(0.05)  # half of its life
    assert await tokens.get(deadline=in_s(1)) == "token-2"


async def test_many_who_were_refused_renew_it_once() -> None:
    source = Counting(None)
    tokens = TokenCache(source)
    first = await tokens.get(deadline=in_s(1))
    for _ in range(10):
        tokens.reject(first)
    second = await tokens.get(deadline=in_s(1))
    tokens.reject(first)
    assert await tokens.get(deadline=in_s(1)) == second == "token-2"


async def test_waiting_for_a_token_ends_at_the_deadline() -> None:
    async with answering(hangs) as (server, connections):
        tokens = TokenCache(login(connections, server.url))
        waits = [asyncio.create_task(tokens.get(deadline=in_s(0.1))) for _ in range(3)]
        ended = await asyncio.gather(*waits, return_exceptions=True)
        assert {type(error) for error in ended} == {LakeTimeoutError}


async def test_the_life_of_a_rucio_token_is_counted_by_rucios_clock() -> None:
    stub = StubRucio(token_life_s=1800)
    async with answering(stub) as (server, connections):
        token = await login(connections, server.url).fetch(deadline=in_s(1))
        assert token.life_s == 1800  # its clock says another year than ours may
        assert server.asked[0].headers["x-rucio-username"] == "u"
        assert "accept" in server.asked[0].headers


async def test_an_answer_without_a_token_is_none() -> None:
    async with answering(says(b"welcome")) as (server, connections):
        with pytest.raises(LakeInvalidAnswerError):
            await login(connections, server.url).fetch(deadline=in_s(1))


async def test_a_wrong_password_is_said_as_such() -> None:
    answer = fails("401 Unauthorized", "CannotAuthenticate")
    async with answering(answer) as (server, connections):
        with pytest.raises(LakeCredentialsError):
            await login(connections, server.url).fetch(deadline=in_s(1))
        assert len(server.asked) == 1


async def test_an_overloaded_server_is_asked_again_for_a_while() -> None:
    busy = 2

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal busy
        busy -= 1
        status = "503 Service Unavailable" if busy >= 0 else "200 OK"
        writer.write(http_reply(b"", status=status, headers="X-Rucio-Auth-Token: t\r\n"))

    async with answering(answer) as (server, connections):
        token = await login(connections, server.url).fetch(deadline=in_s(5))
        assert (token.text, token.life_s) == ("t", DEFAULT_LIFE_S)
        assert len(server.asked) == 3
    async with answering(fails("503 Service Unavailable")) as (server, connections):
        with pytest.raises(LakeBusyError):
            await login(connections, server.url).fetch(deadline=in_s(20))


async def test_client_credentials_name_the_service_they_are_for() -> None:
    given = json.dumps({"access_token": "jwt", "expires_in": 900}).encode()
    async with answering(says(given)) as (server, connections):
        source = ClientCredentials(
            connections=connections,
            token_url=f"{server.url}/token",
            client_id="gate way",
            client_secret=Secret("s3cr3t:x"),
            audience="data-management-api",
            scope="dm",
        )
        token = await source.fetch(deadline=in_s(1))
        assert (token.text, token.life_s) == ("jwt", 900)
        asked = server.asked[0]
        assert parse_qs(asked.body.decode()) == {
            "grant_type": ["client_credentials"],
            "audience": ["data-management-api"],
            "scope": ["dm"],
        }
        credentials = base64.b64decode(asked.headers["authorization"].removeprefix("Basic "))
        assert credentials == b"gate+way:s3cr3t%3Ax"
        assert "s3cr3t" not in repr(source)


async def test_a_token_service_that_makes_no_sense_gives_no_token() -> None:
    async with answering(says(b'{"token": "?"}')) as (server, connections):
        source = ClientCredentials(
            connections=connections, token_url=server.url, client_id="i", client_secret=Secret("s")
        )
        with pytest.raises(LakeInvalidAnswerError):
            await source.fetch(deadline=in_s(1))


async def test_a_refused_token_is_renewed_once_and_then_given_up() -> None:
    source = Counting(3600)
    async with running(fails("401 Unauthorized")) as server, LakeConnections() as connections:
        caller = AuthorizedCaller(connections, server.url, TokenCache(source))
        with pytest.raises(LakeCredentialsError):
            await caller.ask("GET", "/x", deadline=in_s(1))
        sent = [asked.headers["authorization"] for asked in server.asked]
        assert sent == ["Bearer token-1", "Bearer token-2"]


async def test_without_a_token_the_service_is_asked_as_nobody() -> None:
    async with answering(says(b"")) as (server, connections):
        reply = await AuthorizedCaller(connections, server.url, None).ask(
            "GET", "/x", deadline=in_s(1)
        )
        assert reply.status == 200
        assert "authorization" not in server.asked[0].headers


async def test_waiting_for_a_slot_counts_as_time() -> None:
    slots = asyncio.Semaphore(1)
    async with answering(hangs) as (server, connections):
        caller = AuthorizedCaller(connections, server.url, TokenCache(FixedToken(Secret("t"))))
        async with slots:
            with pytest.raises(LakeTimeoutError):
                await caller.ask("GET", "/x", deadline=in_s(0.05), slots=slots)
        assert not server.asked


def test_no_token_shows_itself() -> None:
    assert "s3cr3t" not in f"{Token('s3cr3t')!r} {FixedToken(Secret('s3cr3t'))!r}"
