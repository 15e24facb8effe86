"""HTTP to one broker: calls whose answers are short, streams that take as long as they take."""

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import aiohttp
from yarl import URL

from gateway.cli.errors import BrokerProblemError, BrokerUnavailableError, UnreadableAnswerError
from gateway.cli.tokens import TokenSource
from gateway.cli.transfers import Download
from gateway.wire.documents import Document, from_json, to_json
from gateway.wire.outputs import HEARTBEAT_S
from gateway.wire.retry_after import retry_after_s

IDLE_S: Final = 3 * HEARTBEAT_S
"""A stream that is silent for longer is broken."""

_MAX_PROBLEM_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _LostError(BrokerUnavailableError):
    """The connection broke: the same call may have an answer on another."""


class Connection:
    """Speaks to one broker as one account; to be opened, and closed by who opened it.

    With ``token`` it sends what that gives at the moment, and no password.

    Raises
    ------
    ValueError
        ``url`` is no http(s) URL, or holds a password.
    """

    def __init__(
        self,
        url: str,
        username: str | None,
        password: str | None,
        *,
        token: TokenSource | None = None,
        timeout_s: float,
        connect_s: float,
    ) -> None:
        base = URL(url)
        if base.scheme not in {"http", "https"} or not base.host:
            raise ValueError(f"{url!r} is not an http or https URL")
        if base.password is not None:
            raise ValueError("the URL may not hold a password")
        self.url = str(base).rstrip("/")
        self._base = URL(self.url)
        self._timeout_s = timeout_s
        self._connect_s = connect_s
        self._token = token
        self._headers = {"Accept": "application/json"}
        if username is not None and token is None:
            pair = base64.b64encode(f"{username}:{password or ''}".encode()).decode()
            self._headers["Authorization"] = f"Basic {pair}"
        self._http: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Be ready to call."""
        self._http = aiohttp.ClientSession(headers=self._headers)

    async def close(self) -> None:
        """Let all connections go."""
        if self._http is not None:
            await self._http.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        document: Document | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        extra_s: float = 0,
    ) -> Answer:
        """One call, sent once more if the connection is lost: all that is sent may be repeated.

        Raises
        ------
        BrokerUnavailableError
        """
        http = self._opened()
        sent = {**self._bearer(), **(headers or {})}
        if document is not None:
            sent.setdefault("Content-Type", "application/json")
        total_s = self._timeout_s + extra_s
        for may_repeat in (True, False):
            try:
                with self._failures(f"no answer within {total_s:g} s"):
                    async with http.request(
                        method,
                        self._base.joinpath(path),
                        params=query,
                        data=None if document is None else to_json(document),
                        headers=sent,
                        allow_redirects=False,
                        timeout=aiohttp.ClientTimeout(total=total_s, connect=self._connect_s),
                    ) as response:
                        return Answer(response.status, response.headers, await response.read())
            except _LostError:
                if not may_repeat:
                    raise
        raise AssertionError("unreachable: the second attempt returns or raises")

    @asynccontextmanager
    async def stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Download]:
        """An answer to be read as it comes, however long that takes.

        Parameters
        ----------
        url
            The whole URL, encoded: a path of the broker's is not to be read in another way.

        Raises
        ------
        BrokerUnavailableError, BrokerProblemError
        """
        silence = f"nothing came for {IDLE_S:g} s"
        timeout = aiohttp.ClientTimeout(total=None, connect=self._connect_s, sock_read=IDLE_S)
        with self._failures(silence):
            response = await self._opened().get(
                URL(url, encoded=True),
                headers={
                    **self._bearer(),
                    "Accept": "*/*",
                    "Accept-Encoding": "identity",
                    **headers,
                },
                allow_redirects=False,
                timeout=timeout,
            )
        async with response:
            if response.status >= HTTPStatus.BAD_REQUEST:
                with self._failures(silence):
                    body = await response.content.read(_MAX_PROBLEM_BYTES)
                self.document_of(Answer(response.status, response.headers, body))
            yield Download(response.status, response.headers, self._pieces(response, silence))

    def document_of(self, answer: Answer) -> Document:
        """The body of a success.

        Raises
        ------
        BrokerProblemError
            It is none.
        UnreadableAnswerError
            It is no JSON object.
        """
        try:
            document = from_json(answer.body) if answer.body else {}
        except ValueError:
            document = None
        is_success = answer.status < HTTPStatus.BAD_REQUEST
        if not is_success:
            problem = document if isinstance(document, dict) else {}
            wait_s = retry_after_s(answer.headers)
            raise BrokerProblemError(answer.status, problem, retry_after_s=wait_s)
        if not isinstance(document, dict) or not document:
            raise UnreadableAnswerError(self.url, f"status {answer.status}, but no JSON object")
        return document

    async def _pieces(
        self, response: aiohttp.ClientResponse, silence: str
    ) -> AsyncGenerator[bytes]:
        while True:
            with self._failures(silence):
                piece = await response.content.readany()
            if not piece:
                return
            yield piece

    def _bearer(self) -> dict[str, str]:
        return {} if self._token is None else {"Authorization": f"Bearer {self._token()}"}

    def _opened(self) -> aiohttp.ClientSession:
        if self._http is None or self._http.closed:
            raise RuntimeError("the client is used outside of its 'async with' block")
        return self._http

    @contextmanager
    def _failures(self, silence: str) -> Iterator[None]:
        """What the library raises, as what it means here; ``silence`` is what a time-out is."""
        try:
            yield
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
            raise BrokerUnavailableError(self.url, f"cannot connect: {error}") from error
        except TimeoutError as error:
            raise BrokerUnavailableError(self.url, silence) from error
        except aiohttp.ClientError as error:
            raise _LostError(self.url, f"connection lost: {error}") from error


def query_of(**options: int | str | Sequence[str] | None) -> Mapping[str, str]:
    """The options that are given; lists are joined by commas."""
    texts = {
        name: str(value) if isinstance(value, int | str) else ",".join(value)
        for name, value in options.items()
        if value is not None
    }
    return {name: text for name, text in texts.items() if text}
