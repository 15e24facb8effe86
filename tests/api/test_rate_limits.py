"""Who calls too often is told when to come back; nobody else notices."""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import encode_basic_auth
from aiohttp.test_utils import TestClient
from prometheus_client import CollectorRegistry
from pytest_aiohttp import AiohttpClient

from gateway.httpkit.rate_limits import RateLimits
from gateway.httpkit.rate_settings import RateLimitSettings
from gateway.httpkit.server_settings import AuthenticationSettings, Reads
from tests.api.httpkit_app import Notes, new_notes_app
from tests.api.test_httpkit import problem_of
from tests.support.gateway import running_gateway
from tests.support.node import ALICE as GATEWAY_ALICE
from tests.support.node import node_settings, running_node
from tests.support.requests import minimal_request

NOTE: Final = {"text": "remember the milk"}
MISSING: Final = "/notes/00000000-0000-4000-8000-000000000000"


def basic(username: str, password: str) -> dict[str, str]:
    return {"Authorization": encode_basic_auth(username, password)}


ALICE: Final = basic("alice", "wonderland")
BOB: Final = basic("bob", "builder-password")
ADMIN: Final = basic("admin", "admin-password")
WRONG: Final = basic("alice", "not-hers")


@dataclass(slots=True)
class Hand:
    """A clock that is moved by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Limited:
    """An application with limits, and their clock."""

    client: TestClient[Any, Any]
    clock: Hand

    async def status(self, method: str, path: str, **more: Any) -> int:
        async with self.client.request(method, path, **more) as answer:
            await answer.read()
            return answer.status

    async def statuses(self, count: int, method: str, path: str, **more: Any) -> list[int]:
        return [await self.status(method, path, **more) for _ in range(count)]


async def limited(
    aiohttp_client: AiohttpClient,
    settings: RateLimitSettings,
    *,
    reads: Reads = Reads.PUBLIC,
    proxies: tuple[str, ...] = (),
) -> Limited:
    notes, clock = Notes(), Hand()
    notes.add_identity("alice", "wonderland")
    notes.add_identity("bob", "builder-password")
    app = new_notes_app(
        notes,
        authentication=AuthenticationSettings(reads=reads),
        rate_limits=RateLimits(
            settings,
            clock,
            "notes_",
            CollectorRegistry(),
            heavy=frozenset({("POST", "/notes")}),
            events=frozenset({"/gone"}),
        ),
        trusted_proxies=tuple(ip_network(text) for text in proxies),
    )
    return Limited(await aiohttp_client(app), clock)


async def test_who_reads_too_often_gets_429_with_the_time_to_wait(
    aiohttp_client: AiohttpClient,
) -> None:
    it = await limited(aiohttp_client, RateLimitSettings(reads_per_s=0.5, burst_s=4))
    assert await it.statuses(2, "GET", MISSING, headers=ALICE) == [404, 404]
    async with it.client.get(MISSING, headers=ALICE) as answer:
        problem = await problem_of(answer, HTTPStatus.TOO_MANY_REQUESTS, "rate-limited")
        assert problem["violated-policies"] == ["reads"]
        assert answer.headers["Retry-After"] == "2"
        assert answer.headers["RateLimit-Policy"] == '"reads";q=2;w=4'
        assert answer.headers["RateLimit"] == '"reads";r=0;t=2'
    it.clock.now += 2
    assert await it.statuses(2, "GET", MISSING, headers=ALICE) == [404, 429]


async def test_an_answer_says_how_much_is_left(aiohttp_client: AiohttpClient) -> None:
    it = await limited(aiohttp_client, RateLimitSettings(heavy_per_s=1, burst_s=10))
    async with it.client.post("/notes", json=NOTE, headers=ALICE) as answer:
        assert answer.status == HTTPStatus.CREATED
        assert answer.headers["RateLimit-Policy"] == '"heavy";q=10;w=10'
        assert answer.headers["RateLimit"] == '"heavy";r=9;t=1'
    async with it.client.get("/livez", headers=ALICE) as answer:
        assert "RateLimit" not in answer.headers


async def test_every_caller_and_every_class_has_a_bucket_of_its_own(
    aiohttp_client: AiohttpClient,
) -> None:
    it = await limited(
        aiohttp_client,
        RateLimitSettings(reads_per_s=1, writes_per_s=1, heavy_per_s=1, events_per_s=1, burst_s=1),
    )
    identity = {"username": "carol", "password": "x"}
    assert await it.statuses(2, "GET", MISSING, headers=ALICE) == [404, 429]
    assert await it.statuses(2, "GET", MISSING, headers=BOB) == [404, 429]
    assert await it.statuses(2, "GET", MISSING) == [404, 429]
    assert await it.statuses(2, "POST", "/notes", json=NOTE, headers=ALICE) == [201, 429]
    assert await it.statuses(2, "GET", "/gone", headers=ALICE) == [410, 429]
    assert await it.statuses(2, "POST", "/admin/identities", json=identity, headers=ALICE) == [
        403,
        403,
    ], "what the log-in refuses is not counted"


async def test_the_administrator_and_probes_are_not_limited(aiohttp_client: AiohttpClient) -> None:
    it = await limited(aiohttp_client, RateLimitSettings(reads_per_s=1, burst_s=1))
    assert await it.statuses(3, "GET", MISSING, headers=ADMIN) == [404] * 3
    assert await it.statuses(3, "GET", "/livez") == [200] * 3


async def test_nothing_but_failed_log_ins_is_limited_by_default(
    aiohttp_client: AiohttpClient,
) -> None:
    it = await limited(aiohttp_client, RateLimitSettings())
    assert set(await it.statuses(100, "GET", MISSING, headers=ALICE)) == {404}
    async with it.client.get(MISSING, headers=ALICE) as answer:
        assert "RateLimit" not in answer.headers


async def test_after_too_many_wrong_passwords_not_even_the_right_one_is_looked_at(
    aiohttp_client: AiohttpClient,
) -> None:
    it = await limited(aiohttp_client, RateLimitSettings(failed_logins_per_min=3))
    assert await it.statuses(4, "GET", MISSING, headers=WRONG) == [401, 401, 401, 429]
    async with it.client.get(MISSING, headers=ALICE) as answer:
        problem = await problem_of(answer, HTTPStatus.TOO_MANY_REQUESTS, "rate-limited")
        assert problem["violated-policies"] == ["failed-logins"]
        assert answer.headers["Retry-After"] == "20"
    assert await it.status("GET", MISSING) == 404, "who does not log in may still read"
    assert await it.status("GET", "/livez", headers=WRONG) == 200
    it.clock.now += 20
    assert await it.status("GET", MISSING, headers=ALICE) == 404


async def test_right_passwords_and_missing_ones_are_no_failed_log_ins(
    aiohttp_client: AiohttpClient,
) -> None:
    it = await limited(
        aiohttp_client, RateLimitSettings(failed_logins_per_min=1), reads=Reads.OWNER
    )
    assert await it.statuses(5, "GET", MISSING, headers=ALICE) == [404] * 5
    assert await it.statuses(5, "GET", MISSING) == [401] * 5
    assert await it.status("GET", MISSING, headers=ALICE) == 404


async def test_wrong_passwords_that_come_all_at_once_are_paid_for_later(
    aiohttp_client: AiohttpClient,
) -> None:
    it = await limited(aiohttp_client, RateLimitSettings(failed_logins_per_min=4))
    statuses = await asyncio.gather(*(it.status("GET", MISSING, headers=WRONG) for _ in range(12)))
    failed = sum(status == HTTPStatus.UNAUTHORIZED for status in statuses)
    it.clock.now += 15 * (min(failed, 8) - 4)
    assert await it.status("GET", MISSING, headers=WRONG) == 429
    it.clock.now += 15
    assert await it.status("GET", MISSING, headers=WRONG) == 401


@pytest.mark.parametrize(
    ("proxies", "first", "second", "expected"),
    [
        # Nobody is believed: both come from the same address.
        ((), "203.0.113.1", "203.0.113.2", 429),
        (("127.0.0.0/8",), "203.0.113.1", "203.0.113.2", 404),
        (("127.0.0.0/8",), "203.0.113.1", "203.0.113.1", 429),
        # What the client itself put in front of what the proxy wrote means nothing.
        (("127.0.0.0/8",), "198.51.100.1, 203.0.113.1", "198.51.100.2, 203.0.113.1", 429),
        (("127.0.0.0/8", "10.0.0.0/8"), "203.0.113.1, 10.0.0.1", "203.0.113.2, 10.0.0.1", 404),
        (("127.0.0.0/8",), "2001:db8::1", "2001:db8::2", 429),
        (("127.0.0.0/8",), "[2001:db8::1]:443", "[2001:db8:0:1::1]:443", 404),
        (("127.0.0.0/8",), "nonsense", "nonsense", 429),
    ],
)
async def test_a_forwarded_address_is_believed_from_trusted_proxies_alone(
    proxies: tuple[str, ...],
    first: str,
    second: str,
    expected: int,
    aiohttp_client: AiohttpClient,
) -> None:
    settings = RateLimitSettings(reads_per_s=1, burst_s=1)
    it = await limited(aiohttp_client, settings, proxies=proxies)
    assert await it.status("GET", MISSING, headers={"X-Forwarded-For": first}) == 404
    assert await it.status("GET", MISSING, headers={"X-Forwarded-For": second}) == expected


async def test_registration_tokens_that_do_not_hold_are_failed_log_ins(tmp_path: Path) -> None:
    limits = RateLimitSettings(failed_logins_per_min=2)
    node = {"name": "alpha", "url": "https://alpha.example.org", "challenge_key": "A" * 43}
    async with running_gateway({}, tmp_path, rate_limits=limits) as gateway:
        statuses = [
            (await gateway.call("POST", "/nodes", node, Authorization=f"Bearer ebr_{n:043}")).status
            for n in range(3)
        ]
    assert statuses == [401, 401, 429]


async def test_a_gateway_and_a_node_limit_requests_for_offers(tmp_path: Path) -> None:
    limits = RateLimitSettings(heavy_per_s=0.01, burst_s=100)
    (tmp_path / "node").mkdir()
    async with (
        running_node(tmp_path / "node", node_settings(rate_limits=limits)) as node,
        running_gateway({"alpha": node.url}, tmp_path, rate_limits=limits) as gateway,
    ):
        assert (await gateway.ask(minimal_request(), account=GATEWAY_ALICE)).status == 303
        answer = await gateway.ask(minimal_request(), account=GATEWAY_ALICE)
        assert answer.status == 429
        assert [(await node.ask(minimal_request())).status for _ in range(2)] == [303, 429]
        assert answer.document["violated-policies"] == ["heavy"]
