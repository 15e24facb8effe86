"""Calls to the one node that holds a session: within its limit, with the right credentials."""

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from gateway.clients.broker import BrokerClient
from gateway.clients.exchange import NodeError
from gateway.services.caller import Caller
from gateway.services.node_places import Lane
from gateway.services.registry import NodeRegistry

MAX_REMEMBERED: Final = 10_000
"""Owners whose header is remembered; the one not seen for longest is forgotten first."""


class NodeCalls:
    """Finds the node of a session and keeps to the node's limits.

    Remembers, in memory only, the ``Authorization`` that each owner sent last: nodes with
    pass-through credentials let nobody else change the owner's sessions, and commands come after
    the owner left.
    """

    def __init__(self, registry: NodeRegistry) -> None:
        self._registry = registry
        self._authorizations: OrderedDict[str, str] = OrderedDict()

    def client(self, node: str) -> BrokerClient | None:
        """How to speak to a node; None when it is not registered (any more)."""
        return self._registry.get(node).client if node in self._registry else None

    @asynccontextmanager
    async def talking_to(self, node: str, deadline: float) -> AsyncIterator[None]:
        """Hold one of the node's places for a call about a session, and learn from its end.

        Such calls go before requests for offers: an acceptance does not wait for a rush.

        Raises
        ------
        NodeTimeoutError
            None became free before ``deadline``.
        """
        registered = self._registry.get(node)
        await registered.acquire(deadline, Lane.COMMANDS)
        try:
            yield
        except NodeError as error:
            registered.note_call(error)
            raise
        else:
            registered.note_call(None)
        finally:
            registered.release(Lane.COMMANDS)

    def may_retry(self, node: str) -> bool:
        """Whether this gateway may repeat a call to the node of its own will."""
        return node in self._registry and self._registry.get(node).may_retry()

    def note_accept(self, node: str, *, was_kept: bool) -> None:
        """Remember whether a node kept its word on an offer that was accepted."""
        if node in self._registry:
            self._registry.get(node).note_accept(was_kept=was_kept)

    def remember(self, caller: Caller) -> None:
        """Keep the caller's header for what is done in their name later."""
        if caller.owner is None or caller.authorization is None:
            return
        self._authorizations[caller.owner] = caller.authorization
        self._authorizations.move_to_end(caller.owner)
        if len(self._authorizations) > MAX_REMEMBERED:
            self._authorizations.popitem(last=False)

    def remembered_authorization(self, owner: str | None) -> str | None:
        """The header the owner sent last, if this process has seen one."""
        return None if owner is None else self._authorizations.get(owner)
