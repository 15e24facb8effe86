"""What a gateway that is a node of this one says of the nodes it asked itself."""

from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

import msgspec

from gateway.wire.documents import Document

MAX_BELOW_BYTES: Final = 256 << 10
"""Of one gateway's statement: a thousand nodes of some 200 bytes each. A longer one is left out."""

MAX_LEVELS: Final = 8
"""Gateways below gateways that are told of; what is further down is left out."""


class _Reason(msgspec.Struct, omit_defaults=True):
    code: str
    text: str = ""
    values: dict[str, str] = {}


class _Entry(msgspec.Struct):
    node: str
    outcome: Literal["answered", "no", "late", "timeout", "refused", "error", "invalid", "skipped"]
    reason: _Reason | None = None
    took_ms: int | None = None
    offers: int = 0
    below: "_Federation | None" = None


class _Federation(msgspec.Struct):
    coverage: list[_Entry]
    gateway: str = ""
    offerset: UUID | None = None


_FEDERATION: Final = msgspec.json.Decoder(_Federation)


@dataclass(frozen=True, slots=True)
class Below:
    """A gateway's own offer set: its UUID there, and the outcome of each of its nodes.

    ``coverage`` holds what is understood of it, in the form in which this gateway says it too.
    """

    gateway: str
    offerset: UUID | None
    coverage: tuple[Document, ...]

    def to_document(self) -> Document:
        """As it stands in the coverage entry of the gateway that said it."""
        return {
            "gateway": self.gateway,
            "offerset": None if self.offerset is None else str(self.offerset),
            "coverage": list(self.coverage),
        }


def read_below(federation: bytes, uuid: bytes) -> Below | None:
    """A gateway's statement, from ``federation`` and ``meta.uuid`` of its answer, both JSON.

    None where there is none, or none that can be understood: it explains, and decides nothing.
    """
    if not federation or len(federation) > MAX_BELOW_BYTES:
        return None
    try:
        found = _FEDERATION.decode(federation)
        offerset = msgspec.json.decode(uuid, type=UUID) if uuid else None
    except (ValueError, RecursionError):
        return None
    return Below(
        found.gateway, offerset, tuple(_document(entry, MAX_LEVELS) for entry in found.coverage)
    )


def _document(entry: _Entry, levels: int) -> Document:
    below = entry.below if levels else None
    document = {
        "node": entry.node,
        "outcome": entry.outcome,
        "reason": msgspec.to_builtins(entry.reason),
        "took_ms": entry.took_ms,
        "offers": entry.offers,
    }
    if below is not None:
        document["below"] = Below(
            below.gateway,
            below.offerset,
            tuple(_document(one, levels - 1) for one in below.coverage),
        ).to_document()
    return document
