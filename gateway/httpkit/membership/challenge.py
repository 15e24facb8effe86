"""Proof of a URL: whoever registers it and whoever answers there hold the same key."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from aiohttp import web
from marshmallow import Schema, fields

from gateway.httpkit.bodies import answer_json
from gateway.httpkit.errors import NotFoundProblem
from gateway.httpkit.operations import JSON_ONLY, docs, problem_responses, response_schema

CHALLENGE_ROUTE: Final = "/.well-known/execbroker-challenge/{nonce}"
"""Where a gateway asks for the proof. Well-known URIs: RFC 8615."""

KEY_BYTES: Final = 32
"""Of a challenge's key: as long as the digest (RFC 2104 §3)."""

_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)  # 32 bytes
_PURPOSE: Final = "execbroker-challenge"


@dataclass(frozen=True, slots=True)
class Challenge:
    """The registration that is under way: of which URL, and the key that goes with it."""

    url: str
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, url: str) -> "Challenge":
        """A new one, with a key of its own."""
        return cls(url, secrets.token_bytes(KEY_BYTES))

    @property
    def key_text(self) -> str:
        """The key as the registration says it: base64url without padding (RFC 4648 §5)."""
        return _base64url(self.key)

    def response(self, nonce: str) -> str:
        """The proof."""
        text = f"{_PURPOSE}:{nonce}:{self.url}"
        return _base64url(hmac.digest(self.key, text.encode(), hashlib.sha256))


OpenChallenge: TypeAlias = Callable[[], Awaitable[Challenge | None]]
"""Gives the registration that is under way, if one is."""


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


class ChallengeSchema(Schema):
    """The proof of a URL."""

    response = fields.String(required=True)


def add_challenge_route(app: web.Application, open_challenge: OpenChallenge) -> None:
    """Answer challenges while a registration is under way; at any other time there is nothing."""

    @docs(
        tags=["federation"],
        summary="Prove this URL to a gateway",
        description="Only while this service registers itself there.",
        responses=problem_responses(404, 503),
        media_types=JSON_ONLY,
    )
    @response_schema(ChallengeSchema(), 200)
    async def get_challenge(request: web.Request) -> web.Response:
        nonce = request.match_info["nonce"]
        challenge = await open_challenge() if _NONCE.fullmatch(nonce) else None
        if challenge is None:
            raise NotFoundProblem("No registration is under way that this could be the proof of.")
        document = {"response": challenge.response(nonce)}
        return answer_json(document, headers={"Cache-Control": "no-store"})

    app.router.add_get(CHALLENGE_ROUTE, get_challenge)
