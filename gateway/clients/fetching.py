"""Fetches a document that a user names by its URL, from the few hosts that the settings allow."""

import asyncio
from typing import Final

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver
from yarl import URL

from gateway.clients.addresses import AddressGuard, guarded_session, refusal_in
from gateway.clients.fetched import Fetched, FetchError
from gateway.settings import DiscoverySettings

MAX_REDIRECTS: Final = 3
"""Hosting services redirect once or twice to where the file is; each step is checked like the
first."""

MAX_URL: Final = 2048
"""Longest URL, in characters."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_IDENTITY_CODINGS: Final = frozenset({"", "identity"})


class Fetcher:
    """Fetches documents. ``resolver`` looks up names in place of the machine's own."""

    def __init__(
        self, settings: DiscoverySettings, resolver: AbstractResolver | None = None
    ) -> None:
        self._settings = settings
        self._hosts = frozenset(host.lower() for host in settings.import_hosts)
        self._guard = AddressGuard(may_be_private=settings.import_private)
        self._resolver = resolver

    async def fetch(self, url: str) -> Fetched:
        """The document at this URL, within the time and size of the settings.

        Raises
        ------
        FetchError
            The URL may not be fetched, or there is nothing that can be.
        """
        target = self._checked(url)
        try:
            async with (
                asyncio.timeout(self._settings.import_s),
                guarded_session(self._guard, self._resolver) as session,
            ):
                for _ in range(1 + MAX_REDIRECTS):
                    found = await self._step(session, target)
                    if isinstance(found, Fetched):
                        return found
                    target = found
        except TimeoutError as error:
            raise FetchError(f"it was not there within {self._settings.import_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchError(_why(error, target)) from error
        raise FetchError(f"it redirects more than {MAX_REDIRECTS} times")

    async def _step(self, session: aiohttp.ClientSession, target: URL) -> Fetched | URL:
        """The document, or where it is said to be."""
        async with session.get(target, allow_redirects=False) as response:
            if response.status in _REDIRECTS and hdrs.LOCATION in response.headers:
                return self._checked(str(target.join(URL(response.headers[hdrs.LOCATION]))))
            if not response.ok or response.status in _REDIRECTS:
                raise FetchError(f"{target.host} answers {response.status}")
            if response.headers.get(hdrs.CONTENT_ENCODING, "").lower() not in _IDENTITY_CODINGS:
                raise FetchError("it comes compressed, which was not asked for")
            body = await self._read(response)
            return Fetched(str(target), response.content_type.lower(), body)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > self._settings.import_bytes:
                raise FetchError(f"it is larger than {self._settings.import_bytes} bytes")
        return bytes(body)

    def _checked(self, text: str) -> URL:
        """The URL, if it may be fetched.

        Raises
        ------
        FetchError
            It may not.
        """
        if len(text) > MAX_URL:
            raise FetchError(f"a URL may have {MAX_URL} characters")
        try:
            url = URL(text)
        except ValueError as error:
            raise FetchError("it is no URL") from error
        schemes = ("https", "http") if self._settings.import_http else ("https",)
        if url.scheme not in schemes or not url.host:
            raise FetchError(f"only {' and '.join(schemes)} URLs are fetched")
        if url.user is not None or url.password is not None:
            raise FetchError("a URL with a name or password in it is not fetched")
        if not self._hosts:
            raise FetchError("this gateway imports from nowhere (discovery.import_hosts)")
        if url.host_port_subcomponent not in self._hosts:
            raise FetchError(
                f"{url.host} is none of the hosts to import from: {', '.join(sorted(self._hosts))}"
            )
        return url.with_fragment(None)


def _why(error: Exception, target: URL) -> str:
    """What is said of a failure; nothing that comes from the other side."""
    refused = refusal_in(error)
    if refused is not None:
        return str(refused)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {target.host} is not known"
    if isinstance(error, aiohttp.ClientSSLError):
        return f"no trust in the certificate of {target.host}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{target.host} cannot be reached"
    return f"{target.host} does not answer as a web server should"
