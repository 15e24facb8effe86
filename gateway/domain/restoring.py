"""A node's documents turned back: the client's own data, and no replicas it did not name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.domain.enrichment import Enriched
from gateway.wire.documents import Document, from_json, to_json
from gateway.wire.kinds import SIMPLE_DATA

_OWN_MEMBERS: Final = ("kind", "ivoa", "skao", "rucio")
"""What makes a resource the client's: the rest of it is for the node to say."""


@dataclass(frozen=True, slots=True)
class Restoring:
    """How to show a node's document to its client.

    ``replaced`` has, by the URL that stands in the node's document, the members that the client
    wrote. ``replicas`` are those it named itself, None where it may see them all.
    """

    replaced: Mapping[str, Document] = field(default_factory=dict)
    replicas: tuple[Document, ...] | None = None

    def to_json(self) -> bytes:
        """As it is kept beside the session."""
        return to_json({"replaced": dict(self.replaced), "replicas": self.replicas})


def restoring_of(request: Document, sent: Enriched, *, shows_replicas: bool) -> Restoring | None:
    """How to turn the answers to ``sent`` back; None where there is nothing to turn back."""
    if not sent.replaced and (shows_replicas or not sent.added):
        return None
    data = request["data"]
    replaced = {
        url: {name: data[index][name] for name in _OWN_MEMBERS if name in data[index]}
        for url, index in sent.replaced.items()
    }
    named = [replica for resource in data for replica in _replicas_of(resource)]
    return Restoring(replaced, None if shows_replicas else tuple(named))


def restored(document: bytes, restoring: bytes | None) -> bytes:
    """A node's document as its client may see it; what is not data is not touched."""
    if restoring is None:
        return document
    kept = from_json(restoring)
    session = from_json(document)
    data = session.get("data")
    if not isinstance(data, list):
        return document
    session["data"] = [
        _restored(item, kept["replaced"], kept["replicas"]) if isinstance(item, dict) else item
        for item in data
    ]
    return to_json(session)


def _restored(item: Document, replaced: Document, named: list[Document] | None) -> Document:
    location = item.get("location")
    if item.get("kind") == SIMPLE_DATA and isinstance(location, str) and location in replaced:
        wrote: Document = replaced[location]
        return {name: value for name, value in item.items() if name != "location"} | wrote
    block = item.get("skao")
    if named is None or not isinstance(block, dict) or "replicas" not in block:
        return item
    allowed = [replica for replica in _replicas_of(item) if replica in named]
    others = {name: value for name, value in block.items() if name != "replicas"}
    return item | {"skao": others | ({"replicas": allowed} if allowed else {})}


def _replicas_of(resource: Any) -> list[Document]:
    block = resource.get("skao") if isinstance(resource, dict) else None
    replicas = block.get("replicas") if isinstance(block, dict) else None
    return replicas if isinstance(replicas, list) else []
