"""A node's answer to a request for offers, read offer by offer."""

import asyncio
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec

from gateway.clients.exchange import NodeGarbageError
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.wire.below import Below
from gateway.wire.decode import (
    InvalidDocumentError,
    component_uuids,
    decode_offerset,
    decode_session,
)
from gateway.wire.documents import Document, from_json
from gateway.wire.views import SessionView

_DECODE_BITE_BYTES: Final = 64 << 10
"""Other nodes' answers get their turn after this much was decoded: some 0.2 ms."""


class ReceivedOffer(msgspec.Struct, frozen=True, gc=False):
    """One offer as the node sent it, and what it says. Keeps the whole answer in memory."""

    text: msgspec.Raw
    view: SessionView

    @property
    def raw(self) -> bytes:
        """The offer's own bytes, copied."""
        return bytes(self.text)

    @property
    def component_uuids(self) -> tuple[UUID, ...]:
        """The components that came with it, read anew."""
        return component_uuids(self.text)


@dataclass(frozen=True, slots=True)
class DroppedOffer:
    """One offer that cannot be passed on; ``uuid`` names the hold, where it could be read.

    A duplicate's UUID is that of the first, which is kept: it has no hold of its own.
    """

    uuid: UUID | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class OffersReply:
    """A node's answer to a request for offers. ``result`` is YES or NO, as it said.

    ``surplus`` is how many more offers there were than are read. ``below`` is what a gateway says
    of its own nodes.
    """

    result: str
    messages: tuple[Document, ...] = ()
    offers: tuple[ReceivedOffer, ...] = ()
    dropped: tuple[DroppedOffer, ...] = ()
    surplus: int = 0
    echoes_idempotency_key: bool = False
    below: Below | None = None


async def read_offers(
    body: bytes, known_kinds: frozenset[str], *, echoes_idempotency_key: bool
) -> OffersReply:
    """Decode an offer set, offer by offer: one that cannot be passed on costs only itself.

    Raises
    ------
    NodeGarbageError
        It is no offer set.
    """
    try:
        envelope = decode_offerset(body)
    except InvalidDocumentError as error:
        raise NodeGarbageError(str(error)) from error
    offers: dict[UUID, ReceivedOffer] = {}
    dropped: list[DroppedOffer] = []
    bite = 0
    for raw in envelope.offers:
        bite += len(raw)
        if bite > _DECODE_BITE_BYTES:
            bite = 0
            await asyncio.sleep(0)
        try:
            view = decode_session(raw, known_kinds)
        except InvalidDocumentError as error:
            why = reason(ReasonCode.INVALID_OFFER, detail=str(error))
            dropped.append(DroppedOffer(_uuid_of(raw), why))
            continue
        if view.uuid in offers:
            why = reason(ReasonCode.DUPLICATE_OFFER, uuid=view.uuid)
            dropped.append(DroppedOffer(view.uuid, why))
            continue
        offers[view.uuid] = ReceivedOffer(raw, view)
    return OffersReply(
        result=envelope.result,
        messages=tuple(envelope.messages),
        offers=tuple(offers.values()),
        dropped=tuple(dropped),
        surplus=envelope.surplus,
        echoes_idempotency_key=echoes_idempotency_key,
        below=envelope.below,
    )


def _uuid_of(raw: msgspec.Raw) -> UUID | None:
    """The UUID of an offer that is otherwise unreadable, so that its hold can be let go."""
    try:
        return UUID(from_json(bytes(raw))["meta"]["uuid"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
