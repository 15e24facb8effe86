"""HTTP towards strangers: guarded connections, redirects checked hop by hop, nothing given away."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from node_stub.staging import reasons
from node_stub.staging.allowlist import UrlRules, origin_of, parse_url, shown
from node_stub.staging.errors import RefusedError, SourceError, TransientError
from node_stub.staging.guard import GuardedResolver, guarded_connector, refusal_in

USER_AGENT: Final = "execbroker-node"
READ_BUFFER: Final = 1 << 18
"""Bytes that wait in memory for each transfer, before TCP makes the server wait."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD: Final = frozenset({307, 308})
_NO_CEILING: Final = 1e9
"""aiohttp rounds timeouts above its threshold up to whole seconds."""

Signer: TypeAlias = Callable[[str, URL], Mapping[str, str]]
"""Gives the headers that authorise a method on a URL; asked only for the first origin."""

Body: TypeAlias = Callable[[], AsyncIterable[bytes]]
"""Gives what is sent, from its beginning each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """How long to wait for a connection and in a silence, in seconds, and how many redirects."""

    connect_timeout_s: float
    idle_timeout_s: float
    max_redirects: int


class GuardedClient:
    """Sends requests to URLs that strangers name. `open` and `close` it."""

    def __init__(
        self, rules: UrlRules, limits: ClientLimits, resolver: AbstractResolver | None = None
    ) -> None:
        self._rules = rules
        self._limits = limits
        self._resolver = resolver
        self._guard: GuardedResolver | None = None
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Get ready to connect: no proxy, no cookies, nothing decompressed."""
        self._guard = GuardedResolver(self._resolver or aiohttp.DefaultResolver(), self._rules)
        self._session = aiohttp.ClientSession(
            connector=guarded_connector(self._rules, self._guard),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BUFFER,
            timeout=aiohttp.ClientTimeout(
                total=None,
                connect=self._limits.connect_timeout_s,
                sock_read=self._limits.idle_timeout_s,
                ceil_threshold=_NO_CEILING,
            ),
        )

    async def close(self) -> None:
        """Close every connection, and the resolver."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._guard is not None:
            await self._guard.close()
            self._guard = None

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        *,
        signer: Signer | None = None,
        body: Body | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, whatever its status, after allowed redirects; its body is still to be read.

        Reading it belongs inside of `translated`. What the signer gives is sent only to the origin
        of ``url``.

        Raises
        ------
        RefusedError
            The URL or a redirect leads where it must not.
        SourceError
            This is not HTTP, or no certificate that can be believed.
        TransientError
            No answer, or not in time.
        """
        if self._session is None:
            raise RuntimeError("the client is not open")
        hop = url
        for _ in range(self._limits.max_redirects + 1):
            self._rules.check_hop(hop)
            sent = dict(headers)
            if signer is not None and origin_of(hop) == origin_of(url):
                sent |= signer(method, hop)
            with translated(hop):
                response = await self._session.request(
                    method,
                    hop,
                    headers=sent,
                    data=None if body is None else body(),
                    allow_redirects=False,
                )
            async with response:
                following = _redirect(method, response)
                if following is None:
                    yield response
                    return
            hop = following
        raise RefusedError(reasons.REDIRECTS, limit=str(self._limits.max_redirects))


def _redirect(method: str, response: aiohttp.ClientResponse) -> URL | None:
    """Where the answer sends on to; None if it is one itself."""
    if response.status not in _REDIRECTS:
        return None
    target = response.headers.get("Location", "")
    if not target or (method not in {"GET", "HEAD"} and response.status not in _SAME_METHOD):
        return None
    if "://" not in target.partition("?")[0]:
        try:
            target = str(response.url.join(URL(target, encoded=True)))
        except (ValueError, IndexError) as error:  # IndexError: see parse_url
            raise RefusedError(reasons.URL_SYNTAX, location=shown(target)) from error
    return parse_url(target)


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turns what aiohttp raises into whether asking again may help."""
    try:
        yield
    except TimeoutError as error:
        raise TransientError("no answer in time") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise SourceError("its certificate is not to be trusted") from error
    except aiohttp.ClientConnectorError as error:
        if refusal := refusal_in(error):
            raise refusal from error
        raise TransientError(_cause(error)) from error
    except aiohttp.ClientPayloadError as error:
        raise TransientError("the answer ended before its end") from error
    except (aiohttp.ClientResponseError, aiohttp.InvalidURL) as error:
        raise SourceError("the answer is not HTTP") from error
    except (aiohttp.ClientError, ConnectionError) as error:
        raise TransientError("the connection was lost") from error
    except ValueError as error:
        raise RefusedError(reasons.URL_SYNTAX, location=shown(url)) from error


def _cause(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name of the host cannot be found"
    return "no connection"
