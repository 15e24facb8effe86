"""An OIDC issuer on loopback that gives out signed tokens for client credentials.

As a program (``python -m tests.support.oidc_issuer PORT``) it is a process of its own, which also
signs whatever a test asks for at ``/control/``.
"""

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import time
from typing import Any, Final
from uuid import uuid4

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

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
    kid: str = "k1"
    curve_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    named: str | None = None
    max_age_s: int = 3600
    fetched: int = 0

    def discovery(self) -> dict[str, Any]:
        """What OpenID Connect Discovery 1.0 asks for, and Rucio reads."""
        ends = ("token", "authorization", "introspection", "userinfo")
        return {
            "issuer": self.named or self.url,
            "jwks_uri": f"{self.url}jwk",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "profile"],
        } | {f"{end}_endpoint": f"{self.url}{end}" for end in ends}

    def keys(self) -> dict[str, Any]:
        """The keys that tokens are signed with."""
        numbers = self.key.public_key().public_numbers()
        key = {"kty": "RSA", "kid": self.kid, "use": "sig", "alg": "RS256"}
        point = self.curve_key.public_key().public_numbers()
        curve = {"kty": "EC", "kid": f"{self.kid}-ec", "use": "sig", "crv": "P-256"}
        return {
            "keys": [
                key | {"n": _number(numbers.n), "e": _number(numbers.e)},
                curve | {"x": _number(point.x), "y": _number(point.y)},
            ]
        }

    def rotate(self) -> None:
        """Sign with other keys from now on, and forget the old ones."""
        self.kid = f"k{uuid4()}"
        self.key = rsa.generate_private_key(65537, 2048)
        self.curve_key = ec.generate_private_key(ec.SECP256R1())

    def signed(self, claims: dict[str, Any], header: dict[str, Any]) -> str:
        """A token with these claims; those of the header replace the usual ones, or are None."""
        is_curve = header.get("alg") == "ES256"
        usual = {"alg": "RS256", "kid": f"{self.kid}-ec" if is_curve else self.kid, "typ": "JWT"}
        kept = {name: value for name, value in (usual | header).items() if value is not None}
        text = f"{_text(json.dumps(kept).encode())}.{_text(json.dumps(claims).encode())}"
        if is_curve:
            r, s = decode_dss_signature(
                self.curve_key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
            )
            return f"{text}.{_text(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
        return f"{text}.{_text(self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

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
        return self.signed(claims, {})


@asynccontextmanager
async def running_issuer(port: int) -> AsyncIterator[Issuer]:
    """An issuer on this port, until the block ends."""
    issuer = Issuer(f"http://127.0.0.1:{port}/")

    expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode("ascii")

    async def discovery(_: web.Request) -> web.Response:
        return web.json_response(issuer.discovery())

    async def keys(_: web.Request) -> web.Response:
        issuer.fetched += 1
        headers = {"Cache-Control": f"public, max-age={issuer.max_age_s}"}
        return web.json_response(issuer.keys(), headers=headers)

    async def token(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Basic {expected}":
            return web.json_response({"error": "invalid_client"}, status=401)
        form = {name: str(value) for name, value in (await request.post()).items()}
        issuer.given.append(form)
        text = issuer.token(form.get("audience", ""), form.get("scope", ""))
        return web.json_response({"access_token": text, "expires_in": issuer.life_s})

    async def control(request: web.Request) -> web.Response:
        asked = await request.json()
        if asked.pop("rotate", False):
            issuer.rotate()
        if "claims" in asked:
            text = issuer.signed(asked["claims"], asked.get("header", {}))
            return web.json_response({"token": text})
        for name, value in asked.items():
            setattr(issuer, name, value)
        return web.json_response({"fetched": issuer.fetched})

    app = web.Application()
    app.router.add_post("/control/", control)
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


async def _main(port: int) -> None:
    async with running_issuer(port) as issuer:
        sys.stdout.write(f"{issuer.url}\n")
        sys.stdout.flush()
        # Until whoever started it closes standard input, or ends.
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
