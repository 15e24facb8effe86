"""Calls to webhooks: short, to public addresses only unless allowed, and never redirected."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from gateway.clients.addresses import AddressGuard, guarded_session, refusal_in
from gateway.clients.webhook_poster import WebhookUnreachableError


class WebhookClient:
    """A ``WebhookPoster``; ``opened`` first. An answer must begin within ``deadline_s``."""

    def __init__(self, guard: AddressGuard, deadline_s: float) -> None:
        self._guard = guard
        self._deadline_s = deadline_s
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Be ready to call, for as long as the block lasts."""
        async with guarded_session(self._guard) as session:
            self._session = session
            try:
                yield
            finally:
                self._session = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer, whose body is not looked at.

        Raises
        ------
        WebhookUnreachableError
        """
        assert self._session is not None, "the client is not open"
        try:
            async with (
                asyncio.timeout(self._deadline_s),
                self._session.post(
                    URL(url), data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                return response.status
        except TimeoutError as error:
            raise WebhookUnreachableError(f"no answer within {self._deadline_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            refused = refusal_in(error)
            why = str(refused) if refused is not None else type(error).__name__
            raise WebhookUnreachableError(why) from error
