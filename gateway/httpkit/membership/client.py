"""The registration of a service at one gateway, call by call."""

import asyncio
import ssl
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from aiohttp import hdrs

from gateway.wire.certificates import CertificateFiles, FreshCertificates
from gateway.wire.documents import Document
from gateway.wire.secret import Secret

CONNECT_S: Final = 5.0
"""For a connection: a name lookup that failed once, and a lost packet or two."""

REGISTER_S: Final = 20.0
"""For a registration: the gateway calls back twice meanwhile, and has 5 s for each of these."""

RENEW_S: Final = 5.0
"""For a renewal or a farewell: one row in a database."""

MAX_REPLY_BYTES: Final = 64 << 10
"""A longer answer is not read: real ones have one or two kilobytes."""

_Reply = TypeVar("_Reply")
_CREDENTIALS: Final = frozenset({401, 403})
_GATEWAY_TROUBLE: Final = frozenset({408, 425, 429})  # and all from 500 on: nothing is refused


class GatewayAwayError(Exception):
    """The gateway gave no answer, or one that decides nothing: asking again may help."""


class RefusedError(Exception):
    """The gateway refuses: asking the same again does not help before somebody acts."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status

    @property
    def is_of_credentials(self) -> bool:
        """Whether other credentials may do better."""
        return self.status in _CREDENTIALS


class Lease(msgspec.Struct, frozen=True):
    """How long a registration holds (``expires_s``), and how often it is to be renewed."""

    renew_s: float
    expires_s: float


class Renewed(msgspec.Struct, frozen=True):
    """The answer to a renewal; ``state`` is what the gateway makes of us."""

    state: str
    lease: Lease


class Registered(msgspec.Struct, frozen=True):
    """The answer to a registration.

    ``credential`` is ours from now on; None where the one that we came with stays.
    """

    name: str
    state: str
    lease: Lease
    credential: str | None = None

    def __repr__(self) -> str:
        return f"Registered({self.name!r}, {self.state!r}, {self.lease!r})"


class _Problem(msgspec.Struct, frozen=True):
    title: str = ""
    detail: str = ""


class MembershipClient:
    """Speaks to a gateway about our membership. An asynchronous context manager: owns a session.

    It follows no redirect: credentials go where the settings say, and nowhere else.

    Parameters
    ----------
    ca_file
        Certificates of the authorities to trust, read again when the file has changed; None: the
        system's.

    Raises
    ------
    OSError
        The file is missing, or cannot be used.
    """

    def __init__(self, ca_file: Path | None = None) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._trust: ssl.SSLContext | bool = True
        self._certificates: FreshCertificates | None = None
        if ca_file is not None:
            self._trust = ssl.create_default_context(cafile=ca_file)
            self._trust.set_alpn_protocols(["http/1.1"])
            self._certificates = FreshCertificates(
                self._trust, CertificateFiles(authorities=ca_file)
            )

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={hdrs.USER_AGENT: "execbroker"},
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def register(self, gateway: str, document: Document, bearer: Secret) -> Registered:
        """Register at the gateway of this URL.

        Raises
        ------
        GatewayAwayError, RefusedError
        """
        body = await self._call("POST", f"{gateway}/nodes", bearer, REGISTER_S, document)
        return _decoded(body, Registered)

    async def renew(
        self, gateway: str, name: str, bearer: Secret, *, capabilities: str, is_draining: bool
    ) -> Renewed:
        """Renew the lease of this name; ``capabilities`` is their entity tag.

        Raises
        ------
        GatewayAwayError, RefusedError
            Refused with 404: not registered there.
        """
        document = {"capabilities": capabilities, "draining": is_draining}
        body = await self._call("PUT", f"{_node(gateway, name)}/lease", bearer, RENEW_S, document)
        return _decoded(body, Renewed)

    async def leave(self, gateway: str, name: str, bearer: Secret) -> None:
        """End the registration of this name.

        Raises
        ------
        GatewayAwayError, RefusedError
        """
        await self._call("DELETE", _node(gateway, name), bearer, RENEW_S, None)

    async def _call(
        self, method: str, url: str, bearer: Secret, within_s: float, document: Document | None
    ) -> bytes:
        assert self._session is not None
        if self._certificates is not None:
            self._certificates.refresh()
        try:
            async with (
                asyncio.timeout(within_s),
                self._session.request(
                    method,
                    url,
                    json=document,
                    headers={hdrs.AUTHORIZATION: f"Bearer {bearer.reveal()}"},
                    allow_redirects=False,
                    ssl=self._trust,
                ) as response,
            ):
                body = await _body_of(response)
        except TimeoutError as error:
            raise GatewayAwayError(f"no answer within {within_s:g} s") from error
        except aiohttp.ClientError as error:
            raise GatewayAwayError(str(error) or type(error).__name__) from error
        if response.status >= 500 or response.status in _GATEWAY_TROUBLE:
            raise GatewayAwayError(_text_of(response.status, body))
        if response.status >= 300:
            raise RefusedError(response.status, _text_of(response.status, body))
        return body


def _node(gateway: str, name: str) -> str:
    return f"{gateway}/nodes/{quote(name, safe='')}"


async def _body_of(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_REPLY_BYTES:
            raise GatewayAwayError(f"an answer of more than {MAX_REPLY_BYTES} bytes")
    return bytes(body)


def _decoded(body: bytes, reply: type[_Reply]) -> _Reply:
    try:
        return msgspec.json.decode(body, type=reply)
    except msgspec.DecodeError as error:
        raise GatewayAwayError(f"an answer that cannot be read: {error}") from error


def _text_of(status: int, body: bytes) -> str:
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.DecodeError:
        return f"status {status}"
    return problem.detail or problem.title or f"status {status}"
