"""Calls with bearer tokens, of a service that asks everybody who they are."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from gateway.httpkit.bearer.settings import IssuerSettings
from gateway.httpkit.server_settings import AuthenticationSettings, Reads
from gateway.wire.documents import Document
from tests.support.gateway import running_gateway
from tests.support.node import ADMIN, node_settings, running_node

NOT_THERE: Final = "/sessions/5b0c7d3e-6b0c-4d0a-9a52-0e2f4a1d7c01"
"""There is no such session: 404 for whoever was let in."""

ADMINISTRATION: Final = "/admin/identities"
"""For administrators alone."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back."""

    status: int
    document: Document
    headers: Mapping[str, str]
    challenges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenService:
    """A running gateway or node that takes tokens."""

    url: str
    http: aiohttp.ClientSession

    async def call(
        self,
        token: str | None,
        path: str = NOT_THERE,
        method: str = "GET",
        document: Any = None,
        **query: str,
    ) -> Heard:
        """One exchange with a token, or as the administrator's account without one."""
        bearer = {"Authorization": f"Bearer {token}"}
        headers = ADMIN.headers if token is None else bearer
        async with self.http.request(
            method,
            self.url + path,
            json=document,
            params=query,
            headers=headers,
            allow_redirects=False,
        ) as answer:
            body = await answer.json(content_type=None) if answer.status != 204 else {}
            challenges = tuple(answer.headers.getall("WWW-Authenticate", []))
            return Heard(answer.status, body, answer.headers, challenges)

    async def lets_in(self, token: str) -> bool:
        """Whether a token holds here; if not, it must be said to be the token."""
        heard = await self.call(token)
        assert heard.status in {401, 404}, heard
        return heard.status == 404

    async def refusal(self, token: str, status: int = 401) -> str:
        """Why a token is refused."""
        heard = await self.call(token)
        assert heard.status == status, heard
        why: str = heard.document["detail"]
        assert token not in str(heard)
        return why


@asynccontextmanager
async def token_service(
    sort: str, data_dir: Path, *issuers: IssuerSettings
) -> AsyncIterator[TokenService]:
    """A ``gateway`` or a ``node`` that takes the tokens of these issuers."""
    trust = AuthenticationSettings(reads=Reads.OWNER, issuers=issuers)
    if sort == "gateway":
        async with running_gateway({}, data_dir, authentication=trust) as gateway:
            yield TokenService(gateway.url, gateway.session)
    else:
        async with (
            running_node(data_dir, node_settings(authentication=trust)) as node,
            aiohttp.ClientSession() as http,
        ):
            yield TokenService(node.url, http)
