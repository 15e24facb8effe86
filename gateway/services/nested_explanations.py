"""What the gateways among the nodes say of their own part in an answer."""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from gateway.clients.broker import CallContext
from gateway.clients.exchange import NodeError
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.services.caller import Caller
from gateway.services.node_calls import NodeCalls
from gateway.wire.documents import Document

MARGIN_S: Final = 0.2
"""What each level keeps of the time for its own part and the way back."""

AT_ONCE: Final = 16
"""Gateways asked at the same time; there are few, and what they say is long."""


class NestedExplanations:
    """Reads explanations of the offer sets that gateways below made for one of this gateway's."""

    def __init__(self, nodes: NodeCalls) -> None:
        self._nodes = nodes

    async def read(
        self, coverage: Sequence[Document], caller: Caller, wait_s: float
    ) -> list[Document]:
        """One entry for each gateway below, by name: its ``explanation``, or why there is none."""
        asked = [
            (entry["node"], UUID(entry["below"]["offerset"]))
            for entry in coverage
            if (entry.get("below") or {}).get("offerset")
        ]
        gate = asyncio.Semaphore(AT_ONCE)
        deadline = asyncio.get_running_loop().time() + max(0.0, wait_s - MARGIN_S)

        async def read(node: str, offerset: UUID) -> Document:
            async with gate:
                found = await self._read(node, offerset, caller, deadline)
            entry: Document = {"node": node, "offerset": str(offerset)}
            if isinstance(found, Reason):
                return entry | {"reason": found.to_document()}
            return entry | {"explanation": found}

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(read(node, offerset)) for node, offerset in sorted(asked)]
        return [task.result() for task in tasks]

    async def _read(
        self, node: str, offerset: UUID, caller: Caller, deadline: float
    ) -> Document | Reason:
        client = self._nodes.client(node)
        if client is None:
            return reason(ReasonCode.NODE_REMOVED)
        call = CallContext(request_id=caller.request_id, authorization=caller.authorization)
        try:
            async with self._nodes.talking_to(node, deadline):
                return await client.read_explanation(offerset, call, deadline=deadline)
        except NodeError as error:
            return error.reason
