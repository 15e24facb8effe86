"""Reads what issuers publish, and never more, longer or elsewhere than is said."""

import re
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import hdrs

from gateway.httpkit.bearer.settings import IssuerSettings, url_fault
from gateway.wire.codecs.base import CodecError
from gateway.wire.codecs.json import decode
from gateway.wire.documents import Document

FETCH_S: Final = 5.0
"""For one document: an issuer answers in some 100 ms, also from far away."""

MAX_BYTES: Final = 64 << 10
"""Of one document; the keys of large providers take 5 KiB."""

DISCOVERY_PATH: Final = "/.well-known/openid-configuration"
"""Where an issuer says where its keys are (OpenID Connect Discovery 1.0 §4)."""

_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?(\d{1,9})", re.IGNORECASE)


class FetchError(Exception):
    """The document cannot be had, or is not what it should be."""


@dataclass(frozen=True, slots=True)
class Published:
    """A document, and how many seconds its publisher says it is good for."""

    document: Document
    max_age_s: float | None


class IssuerReader:
    """Reads from one issuer; opened and closed with ``async with``."""

    def __init__(self, settings: IssuerSettings) -> None:
        self._settings = settings
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "IssuerReader":
        connector = aiohttp.TCPConnector(ssl=_trust(self._settings.ca_file))
        self._http = aiohttp.ClientSession(connector=connector, trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def keys(self) -> Published:
        """Its JSON Web Key Set (RFC 7517 §5).

        Raises
        ------
        FetchError
        """
        issuer = self._settings.issuer
        found = await self._read(issuer.rstrip("/") + DISCOVERY_PATH)
        if found.document.get("issuer") != issuer:
            # To the letter: Discovery 1.0 §4.3. Else one issuer could speak for another.
            raise FetchError("its discovery document is of another issuer")
        return await self._read(str(found.document.get("jwks_uri")))

    async def _read(self, url: str) -> Published:
        if self._http is None:
            raise RuntimeError("the reader is used outside of its 'async with' block")
        fault = url_fault(url, allow_http=self._settings.allow_http)
        if fault is not None:
            raise FetchError(f"a URL of its {fault}")
        try:
            async with self._http.get(
                url,
                headers={hdrs.ACCEPT: "application/json"},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=FETCH_S),
            ) as response:
                if response.status != HTTPStatus.OK:
                    raise FetchError(f"answered {response.status}")
                body = await _bounded(response)
                age = _MAX_AGE.search(response.headers.get(hdrs.CACHE_CONTROL, ""))
        except TimeoutError as error:
            raise FetchError(f"did not answer within {FETCH_S:g} s") from error
        except aiohttp.ClientError as error:
            raise FetchError(f"cannot be reached: {type(error).__name__}") from error
        return Published(_object(body), float(age[1]) if age else None)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > MAX_BYTES:
            raise FetchError(f"sent more than {MAX_BYTES} bytes")
    return bytes(body)


def _object(body: bytes) -> Document:
    try:
        document = decode(body)
    except CodecError as error:
        raise FetchError("sent what is no JSON") from error
    if not isinstance(document, dict):
        raise FetchError("sent what is no JSON object")
    return document


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)
