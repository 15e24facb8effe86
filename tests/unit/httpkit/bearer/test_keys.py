"""The keys of an issuer: how they are fetched, how long they are kept, and what is not taken."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc.jwk import ECKey, OctKey, RSAKey

from gateway.httpkit.bearer.errors import InvalidTokenProblem, IssuerAwayProblem
from gateway.httpkit.bearer.fetching import MAX_BYTES, IssuerReader
from gateway.httpkit.bearer.keys import MAX_AGE_S, MIN_AGE_S, IssuerKeys
from gateway.httpkit.bearer.settings import IssuerSettings
from tests.support.waiting import until

RSA = RSAKey.generate_key(2048, {"kid": "rsa", "alg": "RS256"}).as_dict(private=False)
CURVE = ECKey.generate_key("P-256", {"kid": "ec"}).as_dict(private=False)


@dataclass(slots=True)
class Published:
    """What a provider publishes, and time as a test turns it."""

    url: str = ""
    keys: Any = field(default_factory=lambda: {"keys": [RSA, CURVE]})
    discovery: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    body: bytes | None = None
    hangs: bool = False
    fetched: int = 0
    now: float = 1000.0

    async def show_discovery(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {"issuer": self.url, "jwks_uri": f"{self.url}/jwk"} | self.discovery
        )

    async def show_keys(self, _request: web.Request) -> web.StreamResponse:
        self.fetched += 1
        if self.hangs:
            await asyncio.sleep(3600)
        if self.body is not None:
            return web.Response(body=self.body, status=self.status, headers=self.headers)
        return web.json_response(self.keys, status=self.status, headers=self.headers)

    async def show_good(self, _request: web.Request) -> web.Response:
        return web.json_response(self.keys)


@asynccontextmanager
async def provider(published: Published) -> AsyncIterator[IssuerKeys]:
    """The keys of such a provider, fetched as long as the block lasts."""
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", published.show_discovery)
    app.router.add_get("/jwk", published.show_keys)
    app.router.add_get("/good", published.show_good)
    server = TestServer(app)
    await server.start_server()
    published.url = str(server.make_url("")).rstrip("/")
    settings = IssuerSettings(
        issuer=published.url, audiences=("us",), allow_http=True, keys_every_s=30.0
    )
    keys = IssuerKeys(settings, IssuerReader(settings), lambda: published.now)
    running = asyncio.create_task(keys.run())
    try:
        yield keys
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await server.close()


async def test_a_key_is_found_by_its_name_and_sort() -> None:
    async with provider(Published()) as keys:
        assert (await keys.find("rsa", "RS256")).kid == "rsa"
        assert (await keys.find("ec", "ES256")).kid == "ec"
        assert (await keys.find(None, "RS256")).kid == "rsa"
        for kid, algorithm in (("rsa", "ES256"), ("ec", "RS256"), ("rsa", "PS256"), ("x", "RS256")):
            with pytest.raises(InvalidTokenProblem):
                await keys.find(kid, algorithm)


async def test_of_two_keys_that_fit_none_is_guessed() -> None:
    other = RSAKey.generate_key(2048, {"kid": "other"}).as_dict(private=False)
    async with provider(Published(keys={"keys": [RSA, other]})) as keys:
        with pytest.raises(InvalidTokenProblem):
            await keys.find(None, "RS256")


@pytest.mark.parametrize(
    "entry",
    [
        RSA | {"use": "enc"},
        RSA | {"key_ops": ["encrypt"]},
        RSA | {"n": RSA["n"][:200]},
        RSA | {"n": "A" * 5000},
        RSA | {"e": "!"},
        OctKey.generate_key(256, {"kid": "rsa"}).as_dict(private=True),
        {"kty": "RSA", "kid": "rsa"},
        {"kid": "rsa"},
        7,
        None,
    ],
    # Keys are new in every process of a run, and tests must be called alike in all of them.
    ids=["enc", "key_ops", "short", "long", "exponent", "oct", "bare", "no_kty", "number", "null"],
)
async def test_what_is_no_key_for_signatures_is_passed_by(entry: Any) -> None:
    async with provider(Published(keys={"keys": [entry, CURVE]})) as keys:
        assert (await keys.find("ec", "ES256")).kid == "ec"
        with pytest.raises(InvalidTokenProblem):
            await keys.find("rsa", "RS256")


@pytest.mark.parametrize(
    "published",
    [
        Published(status=500),
        Published(status=302, headers={"Location": "/good"}),
        Published(body=b"{" * 100),
        Published(body=b'{"keys": ' + b" " * MAX_BYTES + b"[]}"),
        Published(body=b"[]"),
        Published(keys={}),
        Published(discovery={"issuer": "https://idp.example.org"}),
        Published(discovery={"jwks_uri": "http://idp.example.org/jwk"}),
        Published(discovery={"jwks_uri": "file:///etc/passwd"}),
        Published(discovery={"jwks_uri": 7}),
    ],
    ids=lambda published: str(published.discovery or published.headers or published.status),
)
async def test_what_is_not_as_it_should_be_gives_no_keys(published: Published) -> None:
    async with provider(published) as keys:
        with pytest.raises(IssuerAwayProblem):
            await keys.find("rsa", "RS256")


async def test_keys_outlive_their_issuer_for_a_day_and_no_longer() -> None:
    published = Published()
    async with provider(published) as keys:
        key = await keys.find("rsa", "RS256")
        published.status = 500
        published.now += MAX_AGE_S
        assert await keys.find("rsa", "RS256") is key
        assert keys.has(key)
        published.now += 1
        assert not keys.has(key)
        with pytest.raises(IssuerAwayProblem):
            await keys.find("rsa", "RS256")


async def test_an_unknown_key_is_asked_for_once_in_a_while_and_known_ones_never_wait() -> None:
    published = Published()
    async with provider(published) as keys:
        await keys.find("rsa", "RS256")
        with pytest.raises(InvalidTokenProblem):
            await keys.find("new", "RS256")
        assert published.fetched == 1, "it has only just been asked"
        published.now += 30
        published.hangs = True
        waiting = [asyncio.create_task(keys.find("new", "RS256")) for _ in range(50)]
        await until(lambda: published.fetched == 2)
        async with asyncio.timeout(1):
            assert (await keys.find("rsa", "RS256")).kid == "rsa"
        assert published.fetched == 2
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("public, max-age=7200", 7200),
        ("max-age=0", MIN_AGE_S),
        ("no-store", 3600),
        ("s-maxage=9, max-age=99999999", MAX_AGE_S),
        ("max-age=soon", 3600),
    ],
)
async def test_keys_are_good_for_as_long_as_is_said_within_bounds(
    said: str, expected: float
) -> None:
    async with provider(Published(headers={"Cache-Control": said})) as keys:
        await keys.find("rsa", "RS256")
        assert keys.fresh_for_s == expected
