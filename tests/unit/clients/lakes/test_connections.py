"""Asking catalogues over HTTP: every answer is bounded, and a stale connection costs nothing."""

import asyncio

import pytest

from gateway.clients.lakes.connections import ConnectionLimits, LakeCall, LakeConnections
from gateway.clients.lakes.errors import (
    LakeError,
    LakeInvalidAnswerError,
    LakeTimeoutError,
    LakeUnreachableError,
)
from tests.support.faulty_nodes import (
    Behaviour,
    closes_before_headers,
    closes_idle_on_use,
    closes_mid_body,
    huge_body,
    redirects_elsewhere,
    refuses,
    running,
    speaks_no_http,
)
from tests.support.lake_stubs import chunked, drips, hangs, in_s, says


async def ask(behaviour: Behaviour, limits: ConnectionLimits, within_s: float = 2.0) -> bytes:
    async with running(behaviour) as server, LakeConnections(limits) as connections:
        call = LakeCall(method="GET", url=f"{server.url}/x")
        return (await connections.ask(call, deadline=in_s(within_s))).body


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (chunked(b'{"whole": 1}\n', is_whole=False), LakeInvalidAnswerError),
        (closes_mid_body, LakeInvalidAnswerError),
        (closes_before_headers, LakeInvalidAnswerError),
        (speaks_no_http, LakeInvalidAnswerError),
        (huge_body(1 << 20, says_length=False), LakeInvalidAnswerError),
        (huge_body(1 << 20), LakeInvalidAnswerError),
        (says(b"\x1f\x8b", Content_Encoding="gzip"), LakeInvalidAnswerError),
        (hangs, LakeTimeoutError),
    ],
)
async def test_an_answer_that_is_not_whole_is_none(
    behaviour: Behaviour, error: type[LakeError]
) -> None:
    limits = ConnectionLimits(max_answer_bytes=100_000, silence_s=0.2)
    with pytest.raises(error):
        await ask(behaviour, limits)


async def test_a_drip_ends_at_the_deadline_although_it_is_never_silent() -> None:
    began = asyncio.get_running_loop().time()
    with pytest.raises(LakeTimeoutError):
        await ask(drips(b"x" * 1000), ConnectionLimits(silence_s=5), within_s=0.3)
    assert asyncio.get_running_loop().time() - began < 0.6


async def test_silence_ends_long_before_the_deadline() -> None:
    began = asyncio.get_running_loop().time()
    with pytest.raises(LakeTimeoutError):
        await ask(hangs, ConnectionLimits(silence_s=0.1), within_s=10)
    assert asyncio.get_running_loop().time() - began < 1


async def test_nobody_there_is_said_at_once() -> None:
    with refuses() as server:
        async with LakeConnections() as connections:
            with pytest.raises(LakeUnreachableError):
                await connections.ask(LakeCall(method="GET", url=server.url), deadline=in_s(2))


async def test_a_connection_that_was_closed_while_idle_is_replaced_once() -> None:
    async with (
        running(closes_idle_on_use(says(b"here"))) as server,
        LakeConnections() as connections,
    ):
        call = LakeCall(method="POST", url=f"{server.url}/list", body=b"{}")
        for _ in range(3):
            assert (await connections.ask(call, deadline=in_s(2))).body == b"here"
        assert server.connections == 3


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    async with running(redirects_elsewhere) as server, LakeConnections() as connections:
        call = LakeCall(method="GET", url=server.url)
        assert (await connections.ask(call, deadline=in_s(2))).status == 303
        assert len(server.asked) == 1


async def test_any_kind_of_answer_is_accepted_since_rucio_refuses_json() -> None:
    async with running(says(b"")) as server, LakeConnections() as connections:
        await connections.ask(LakeCall(method="GET", url=server.url), deadline=in_s(2))
        assert server.asked[0].headers["accept"] == "*/*"


async def test_a_path_goes_out_as_it_was_quoted() -> None:
    async with running(says(b"")) as server, LakeConnections() as connections:
        call = LakeCall(method="GET", url=f"{server.url}/a%2Fb/c%20d?x=%25")
        await connections.ask(call, deadline=in_s(2))
        assert server.asked[0].path == "/a%2Fb/c%20d?x=%25"


def test_nothing_that_is_secret_is_in_the_text_of_a_call() -> None:
    call = LakeCall(method="GET", url="http://x", headers={"X-Rucio-Auth-Token": "s3cr3t"})
    assert "s3cr3t" not in repr(call)
