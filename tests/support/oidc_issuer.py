"""An OIDC issuer on loopback that gives out signed tokens for client credentials."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import time
from typing import Any, Final
from uuid import uuid4

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

CLIENT_ID: Final = "gateway"
CLIENT_SECRET: Final = "client-secret"
SUBJECT: Final = "gateway-subject"


@dataclass(slots=True)
class Issuer:
    """A running issuer; ``given`` are the forms that tokens were asked for with."""

    url: str
    life_s: int = 3600
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    given: list[dict[str, str]] = field(default_factory=list)

    def discovery(self) -> dict[str, Any]:
        """What OpenID Connect Discovery 1.0 asks for, and Rucio reads."""
        ends = ("token", "authorization", "introspection", "userinfo")
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}jwk",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "profile"],
        } | {f"{end}_endpoint": f"{self.url}{end}" for end in ends}

    def keys(self) -> dict[str, Any]:
        """The key that tokens are signed with."""
        numbers = self.key.public_key().public_numbers()
        key = {"kty": "RSA", "kid": "k1", "use": "sig", "alg": "RS256"}
        return {"keys": [key | {"n": _number(numbers.n), "e": _number(numbers.e)}]}

    def token(self, audience: str, scope: str) -> str:
        """A new token."""
        now = int(time())
        claims = {
            "iss": self.url,
            "sub": SUBJECT,
            "aud": audience,
            "scope": scope,
            "iat": now,
            "nbf": now,
            "exp": now + self.life_s,
            "jti": str(uuid4()),
        }
        header = {"alg": "RS256", "kid": "k1", "typ": "JWT"}
        signed = f"{_text(json.dumps(header).encode())}.{_text(json.dumps(claims).encode())}"
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_text(signature)}"


@asynccontextmanager
async def running_issuer(port: int) -> AsyncIterator[Issuer]:
    """An issuer on this port, until the block ends."""
    issuer = Issuer(f"http://127.0.0.1:{port}/")

    expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode("ascii")

    async def discovery(_: web.Request) -> web.Response:
        return web.json_response(issuer.discovery())

    async def keys(_: web.Request) -> web.Response:
        return web.json_response(issuer.keys())

    async def token(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Basic {expected}":
            return web.json_response({"error": "invalid_client"}, status=401)
        form = {name: str(value) for name, value in (await request.post()).items()}
        issuer.given.append(form)
        text = issuer.token(form.get("audience", ""), form.get("scope", ""))
        return web.json_response({"access_token": text, "expires_in": issuer.life_s})

    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", discovery)
    app.router.add_get("/jwk", keys)
    app.router.add_post("/token", token)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield issuer
    finally:
        await runner.cleanup()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _number(value: int) -> str:
    return _text(value.to_bytes((value.bit_length() + 7) // 8, "big"))
