"""What was seen of a job, as its session's document shows it: ports that answer, what it took."""

from collections.abc import Sequence
from typing import Final

from gateway.wire import kinds
from gateway.wire.documents import Document
from gateway.wire.phases import ConnectorStatus
from node_stub.documents import CONNECTOR_KIND, reachable_ports
from node_stub.platforms.base import JobPhase, Observation, Reachable, Usage

_USAGE: Final = (
    ("cpu_s", kinds.CPU_TIME, "Processor time used, in seconds"),
    ("peak_memory_bytes", kinds.PEAK_MEMORY, "Most memory held at once, in bytes"),
    ("bytes_staged", kinds.BYTES_STAGED, "Data fetched for this session, in bytes"),
    ("staging_s", kinds.STAGING_TIME, "Time that fetching the data took, in seconds"),
)


def with_observed(document: Document, seen: Observation | None) -> Document:
    """The session's document with what the last look at its job told; the same if that is nothing.

    A port that answered once and does not any more is PREPARING again.
    """
    if seen is None:
        return document
    found: Document = {}
    if document.get("connectors") or seen.reachable:
        found["connectors"] = _connectors(document, seen.reachable)
    # While it runs, what it takes changes at every look: that is not worth writing down.
    if seen.phase is JobPhase.ENDED and seen.usage is not None:
        found["metrics"] = _metrics(document, seen.usage)
    is_new = any(document.get(member, []) != value for member, value in found.items())
    return {**document, **found} if is_new else document


def _connectors(document: Document, reachable: Sequence[Reachable]) -> list[Document]:
    locations = {item.port: item.location for item in reachable}
    shown = []
    known: Sequence[Document] = document.get("connectors") or ()
    for number, connector in zip(reachable_ports(document["executable"]), known, strict=False):
        location = locations.pop(number, None)
        shown.append(_located(connector, location))
    # What the executable brings with it without a port of the client's: a notebook's server.
    shown += [_located(_connector_to(location), location) for location in locations.values()]
    return shown


def _located(connector: Document, location: str | None) -> Document:
    bare = {member: value for member, value in connector.items() if member != "location"}
    if location is None:
        return {**bare, "status": ConnectorStatus.PREPARING.value}
    return {**bare, "status": ConnectorStatus.AVAILABLE.value, "location": location}


def _connector_to(location: str) -> Document:
    protocol = location.partition(":")[0]
    return {"kind": CONNECTOR_KIND + protocol.lower(), "protocol": protocol.upper()}


def _metrics(document: Document, usage: Usage) -> list[Document]:
    measured = []
    for name, urn, description in _USAGE:
        value = getattr(usage, name)
        if value is not None:
            measured.append(
                {
                    "kind": kinds.MINMAX_METRIC,
                    "type": urn,
                    "description": description,
                    "min": float(value),
                    "max": float(value),
                }
            )
    types = {metric["type"] for metric in measured}
    declared = [item for item in document.get("metrics", ()) if item.get("type") not in types]
    return [*declared, *measured]
