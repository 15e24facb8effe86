"""Asking a URL that a stranger has named whether it is theirs, and what is there.

Connections are made only to addresses that were checked (``gateway.clients.addresses``), follow no
redirect, and are bounded in time and size. Nothing is sent that is worth anything to others.
"""

import asyncio
import base64
import hmac
import secrets
import ssl
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver

from gateway.clients.addresses import AddressGuard, guarded_session, refusal_in
from gateway.clients.proof import Found, ProvingError
from gateway.clients.trust import tls_context
from gateway.domain.capabilities import CapabilitiesError, read_capabilities
from gateway.wire.codecs.base import CodecError
from gateway.wire.codecs.json import decode

CHALLENGE_PATH: Final = "/.well-known/execbroker-challenge/"
"""Where a node answers; a path of its own below ``/.well-known`` (RFC 8615)."""

WAIT_S: Final = 5.0
"""For each of the two answers, from the first byte of the name to the last of the body."""

MAX_PROOF_BYTES: Final = 4 << 10
"""Of an answer to the challenge, which has some 60."""

MAX_CAPABILITIES_BYTES: Final = 64 << 10
"""Of capabilities; those of our own node have some 3 KiB."""

AT_ONCE: Final = 16
"""URLs tried at the same time: strangers must not keep all of this gateway's connections."""

_NONCE_BYTES: Final = 32
_LABEL: Final = "execbroker-challenge"


class NodeProver:
    """Tries URLs. Opens a connection for every call, and keeps none.

    ``trust`` says whose certificates are believed and which one is shown; by default the system's
    authorities, and none. ``resolver`` makes the one that looks names up in place of the machine's
    own.
    """

    def __init__(
        self,
        guard: AddressGuard,
        trust: ssl.SSLContext | None = None,
        *,
        resolver: type[AbstractResolver] = aiohttp.ThreadedResolver,
        wait_s: float = WAIT_S,
    ) -> None:
        self._guard = guard
        self._trust = trust or tls_context(None)
        self._resolver = resolver
        self._wait_s = wait_s
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def prove(self, url: str, key: bytes) -> None:
        """See whether who serves the URL holds the key; ``url`` has no slash at its end.

        Raises
        ------
        ProvingError
        """
        nonce = secrets.token_urlsafe(_NONCE_BYTES)
        raw, _ = await self._get(f"{url}{CHALLENGE_PATH}{nonce}", MAX_PROOF_BYTES)
        document = _object_of(raw, "the answer to the challenge")
        given = document.get("response")
        if not isinstance(given, str) or not given.isascii():
            raise ProvingError("the answer to the challenge has no response")
        right = hmac.digest(key, f"{_LABEL}:{nonce}:{url}".encode(), "sha256")
        expected = base64.urlsafe_b64encode(right).rstrip(b"=")
        if not hmac.compare_digest(expected, given.rstrip("=").encode()):
            raise ProvingError("the answer to the challenge is wrong: somebody else serves it")

    async def capabilities(self, url: str) -> Found:
        """What the broker at the URL says it can do.

        Raises
        ------
        ProvingError
        """
        raw, digest = await self._get(f"{url}/capabilities", MAX_CAPABILITIES_BYTES)
        document = _object_of(raw, "the capabilities document")
        try:
            return Found(raw, read_capabilities(document), digest)
        except CapabilitiesError as error:
            raise ProvingError(f"the capabilities document cannot be used: {error}") from error

    async def _get(self, url: str, limit: int) -> tuple[bytes, str]:
        """The body of a 200 and its entity tag."""
        where = url.rpartition("/")[0] if CHALLENGE_PATH in url else url
        try:
            async with self._gate, asyncio.timeout(self._wait_s):
                return await self._read(url, where, limit)
        except TimeoutError as error:
            raise ProvingError(f"{where} did not answer within {self._wait_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            if refusal_in(error) is not None:
                raise ProvingError(
                    "it leads to a private, local or reserved address, which the setting "
                    "registration.allow_private_addresses does not allow"
                ) from error
            raise ProvingError(f"{where} cannot be read ({type(error).__name__})") from error

    async def _read(self, url: str, where: str, limit: int) -> tuple[bytes, str]:
        async with (
            guarded_session(self._guard, self._resolver()) as session,
            session.get(
                url,
                allow_redirects=False,
                ssl=self._trust,
                headers={"Accept": "application/json"},
                timeout=aiohttp.ClientTimeout(total=None),
            ) as response,
        ):
            if response.status != 200:
                raise ProvingError(f"{where} answers with HTTP status {response.status}")
            body = bytearray()
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > limit:
                    raise ProvingError(f"{where} answers with more than {limit} bytes")
            return bytes(body), response.headers.get("ETag", "")


def _object_of(raw: bytes, what: str) -> dict[str, object]:
    try:
        document = decode(raw)
    except CodecError as error:
        raise ProvingError(f"{what} is not JSON") from error
    if not isinstance(document, dict):
        raise ProvingError(f"{what} is no JSON object")
    return document
