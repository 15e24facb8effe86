"""Builds what speaks to nodes: a part of the composition root."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.assembly.authorization import transport_for
from gateway.clients.addresses import AddressGuard
from gateway.clients.broker import BrokerClient
from gateway.clients.lakes.connections import LakeConnections
from gateway.clients.transports import transport_of
from gateway.clients.trust import tls_context
from gateway.config import GatewaySettings
from gateway.domain.node import NodeProfile


class NodeConnections:
    """Makes the clients of nodes, and has their connections.

    Those of the settings may be anywhere, and are shown what the settings say. Nodes that
    registered are reached only at addresses that they may have: a name may come to mean something
    else after it was proven. ``connections`` fetch tokens, and are not owned.
    """

    def __init__(self, settings: GatewaySettings, connections: LakeConnections) -> None:
        transport, rules = settings.transport, settings.registration
        self._connect_s = settings.federation.connect_s
        self._plain = transport_of(transport)
        self._guarded = transport_of(
            transport, AddressGuard(may_be_private=rules.allow_private_addresses)
        )
        trust = tls_context(transport.ca_file) if transport.ca_file else None
        self._configured = {
            node.name: transport_for(self._plain, node.credentials, connections, trust)
            for node in settings.nodes
        }

    def client_of(self, node: NodeProfile) -> BrokerClient:
        """The client of a node, which can be used while the connections are open."""
        transport = self._guarded if node.is_registered else self._configured[node.name]
        return BrokerClient(node, transport, connect_s=self._connect_s)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have the connections, for as long as the block lasts."""
        async with self._plain, self._guarded:
            yield
