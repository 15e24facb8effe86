"""Builds what nodes are shown of the gateway and its callers: a part of the composition root."""

import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar, assert_never

from gateway.clients.authorization.base import (
    AuthorizationInOrder,
    FixedAuthorization,
    NodeAuthorization,
)
from gateway.clients.authorization.exchange import SrcnetExchange, StandardExchange
from gateway.clients.authorization.tokens import ExchangedToken, ServiceToken
from gateway.clients.authorization.transport import AuthorizingTransport
from gateway.clients.exchange import NodeTransport
from gateway.clients.lakes.connections import LakeConnections
from gateway.clients.lakes.tokens import ClientCredentials, IssuerClient
from gateway.clients.trust import fresh_trust
from gateway.sections.credentials import (
    ClientCredentialsSettings,
    CredentialsSettings,
    FixedSettings,
    SrcnetExchangeSettings,
    TokenExchangeSettings,
    fixed,
)
from gateway.settings import TransportSettings
from gateway.wire.certificates import LOOK_EVERY_S

Client = TypeVar("Client", bound=IssuerClient)


def renewing(settings: TransportSettings) -> Callable[[], Awaitable[float]]:
    """Takes certificates for nodes into use again when their files have changed."""
    fresh = fresh_trust(settings)

    async def look() -> float:
        fresh.refresh()
        return LOOK_EVERY_S

    return look


def transport_for(
    transport: NodeTransport,
    credentials: Sequence[CredentialsSettings],
    connections: LakeConnections,
    trust: ssl.SSLContext | None,
) -> NodeTransport:
    """The transport to use for a node with these credentials.

    Tokens are fetched over ``connections``, which are not owned, from those whom ``trust`` vouches
    for.
    """
    if fixed(credentials) is not None:
        return transport
    ways = [_authorization(one, connections, trust) for one in credentials]
    return AuthorizingTransport(
        transport, ways[0] if len(ways) == 1 else AuthorizationInOrder(ways)
    )


def _authorization(
    settings: CredentialsSettings, connections: LakeConnections, trust: ssl.SSLContext | None
) -> NodeAuthorization:
    match settings:
        case ClientCredentialsSettings():
            return ServiceToken(_at_issuer(ClientCredentials, settings, connections, trust))
        case TokenExchangeSettings():
            return ExchangedToken(_at_issuer(StandardExchange, settings, connections, trust))
        case SrcnetExchangeSettings():
            return ExchangedToken(
                SrcnetExchange(
                    connections=connections,
                    url=settings.url.rstrip("/"),
                    service=settings.service,
                    version=settings.version,
                    trust=trust,
                )
            )
        case _ if isinstance(settings, FixedSettings):
            return FixedAuthorization(settings.to_credentials())
        case _:
            assert_never(settings)


def _at_issuer(
    client: type[Client],
    settings: ClientCredentialsSettings | TokenExchangeSettings,
    connections: LakeConnections,
    trust: ssl.SSLContext | None,
) -> Client:
    return client(
        connections=connections,
        token_url=settings.token_url,
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        audience=settings.audience,
        scope=settings.scope,
        trust=trust,
    )
