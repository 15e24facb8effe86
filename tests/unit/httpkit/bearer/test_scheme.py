"""Tokens that were verified are not verified again."""

import asyncio
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final

from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc import jws, jwt
from joserfc.jwk import ECKey

from gateway.httpkit.bearer.revoked import Revocations
from gateway.httpkit.bearer.scheme import OidcScheme
from gateway.httpkit.bearer.settings import IssuerSettings
from gateway.wire.identity import Subject

KEY: Final = ECKey.generate_key("P-256", {"kid": "ec"})
TOKENS: Final = 20


class Nobody:
    """A store in which nobody is shut out."""

    async def is_revoked(self, subject: Subject) -> bool:
        return subject.issuer == ""

    async def revocations(self, after: Subject | None, limit: int) -> Sequence[Subject]:
        return [] if limit else [after or Subject("", "")]

    async def revoke(self, subject: Subject) -> None: ...

    async def restore(self, subject: Subject) -> bool:
        return await self.is_revoked(subject)


async def test_the_signature_of_a_token_that_was_verified_is_not_verified_again() -> None:
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", _show_discovery)
    app.router.add_get("/jwk", _show_keys)
    server = TestServer(app)
    await server.start_server()
    url = str(server.make_url("")).rstrip("/")
    trust = IssuerSettings(issuer=url, audiences=("us",), allow_http=True)
    scheme = OidcScheme((trust,), Revocations(Nobody()))
    running = asyncio.create_task(scheme.keys[url].run())
    try:
        tokens = [_token(url, n) for n in range(TOKENS)]
        assert await _verified(scheme, tokens) == TOKENS
        assert await _verified(scheme, tokens) == 0
        assert await _verified(scheme, [_token(url, TOKENS), tokens[0]]) == 1
        principal = await scheme.principal(tokens[0])
        assert principal is not None
        assert principal.owner == f"oidc:0@{url}"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await server.close()


async def _verified(scheme: OidcScheme, tokens: Sequence[str]) -> int:
    """How many signatures are verified while the tokens are looked at."""
    count, verifies = 0, jws.deserialize_compact.__code__

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event == "call" and frame.f_code is verifies

    sys.setprofile(note)
    try:
        for token in tokens:
            assert await scheme.principal(token) is not None
    finally:
        sys.setprofile(None)
    return count


async def _show_discovery(request: web.Request) -> web.Response:
    url = f"http://{request.host}"
    return web.json_response({"issuer": url, "jwks_uri": f"{url}/jwk"})


async def _show_keys(_request: web.Request) -> web.Response:
    return web.json_response({"keys": [KEY.as_dict(private=False)]})


def _token(issuer: str, number: int) -> str:
    claims = {"iss": issuer, "sub": str(number), "aud": "us", "exp": int(time.time()) + 600}
    return jwt.encode({"alg": "ES256", "kid": "ec"}, claims, KEY)
