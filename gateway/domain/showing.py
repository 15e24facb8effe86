"""What a client sees of a node's document: the gateway's own URLs, phase, options and messages."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from gateway.wire.documents import Document, from_json
from gateway.wire.kinds import COMPONENT_KINDS, ENUM_OPTION, OFFERSET, SCHEDULED_SESSION
from gateway.wire.outputs import output_urls, with_urls
from gateway.wire.phases import CLIENT_MOVES, SessionPhase

COMPONENT_PATHS: Final[Mapping[str, str]] = {
    "executable": "executables",
    "compute": "compute",
    "storage": "storage",
    "data": "data",
    "volumes": "volumes",
}
"""The URL path under which the components of each member of a session are read."""


def components_of(session: Document) -> Iterator[tuple[str, Document]]:
    """Every component of a session with its URL path; what is shaped otherwise is passed over."""
    compute = session.get("compute")
    volumes = compute.get("volumes") if isinstance(compute, dict) else None
    for member, path in COMPONENT_PATHS.items():
        value = volumes if member == "volumes" else session.get(member)
        for component in value if isinstance(value, list) else [value]:
            if isinstance(component, dict):
                yield path, component


def show_session(
    document: Document,
    *,
    base_url: str,
    phase: SessionPhase,
    is_owner: bool,
    messages: Sequence[Document] = (),
    federation: Document | None = None,
) -> Document:
    """A session as a client of this gateway sees it; ``document`` is the node's, and is changed.

    The owner is offered what the phase allows; nobody else is offered anything.
    """
    _rewrite_url(document, "sessions", base_url)
    for path, component in components_of(document):
        _rewrite_url(component, path, base_url)
    _rewrite_connectors(document, base_url)
    meta = document.setdefault("meta", {})
    choices = CLIENT_MOVES.get(phase, ()) if is_owner else ()
    if choices:
        meta["options"] = [
            {"kind": ENUM_OPTION, "path": "phase", "values": [choice.value for choice in choices]}
        ]
    else:
        meta.pop("options", None)
    if messages:
        meta["messages"] = [*meta.get("messages", ()), *messages]
    document["phase"] = phase.value
    if federation is not None:
        document["federation"] = federation
    return document


def foreign_kinds(document: bytes | None) -> frozenset[str]:
    """Component kinds in a node's document that the schema does not have."""
    session = from_json(document) if document else {}
    kinds = {str(component.get("kind")) for _, component in components_of(session)}
    return frozenset(kinds - COMPONENT_KINDS)


def phase_said(document: bytes | None) -> SessionPhase | None:
    """The phase in a node's own document; None where there is no document, or no such phase."""
    phase = from_json(document).get("phase") if document else None
    return SessionPhase(phase) if phase in set(SessionPhase) else None


def show_component(session: Document, uuid: UUID) -> Document | None:
    """The component of that UUID within a session that is already shown."""
    wanted = str(uuid)
    for _, component in components_of(session):
        if component.get("meta", {}).get("uuid") == wanted:
            return component
    return None


def show_offerset(
    *,
    uuid: UUID,
    base_url: str,
    created: str,
    offers: Sequence[Document],
    messages: Sequence[Document],
    federation: Document,
) -> Document:
    """An offer set; ``offers`` are already shown, best first. Without offers the result is NO."""
    meta: Document = {
        "uuid": str(uuid),
        "url": f"{base_url}/offersets/{uuid}",
        "created": created,
    }
    if messages:
        meta["messages"] = list(messages)
    document: Document = {
        "kind": OFFERSET,
        "meta": meta,
        "result": "YES" if offers else "NO",
    }
    if offers:
        document["offers"] = list(offers)
    return document | {"federation": federation}


def show_results(results: Document, base_url: str) -> Document:
    """A node's list of what came out of a session, every URL one of this gateway's."""
    return with_urls(results, base_url)


def show_failed_session(*, uuid: UUID, created: str, messages: Sequence[Document]) -> Document:
    """The session that a direct request ends in when nobody executes it."""
    return {
        "kind": SCHEDULED_SESSION,
        "meta": {"uuid": str(uuid), "created": created, "messages": list(messages)},
        "phase": SessionPhase.FAILED.value,
    }


def with_message(document: Document, message: Document) -> Document:
    """The same document with one message more; the original stays as it is."""
    meta = dict(document.get("meta") or {})
    meta["messages"] = [*(meta.get("messages") or ()), message]
    return document | {"meta": meta}


def _rewrite_url(component: Document, path: str, base_url: str) -> None:
    meta = component.get("meta")
    if isinstance(meta, dict) and "uuid" in meta:
        meta["url"] = f"{base_url}/{path}/{meta['uuid']}"


def _rewrite_connectors(session: Document, base_url: str) -> None:
    """Lead to logs and results through this gateway; every other connector stays as it is."""
    connectors, meta = session.get("connectors"), session.get("meta")
    if not isinstance(connectors, list) or not isinstance(meta, dict) or "uuid" not in meta:
        return
    urls = output_urls(base_url, meta["uuid"])
    for connector in connectors:
        if isinstance(connector, dict) and "location" in connector:
            url = urls.get(str(connector.get("kind")))
            if url is not None:
                connector["location"] = url
                connector["protocol"] = urlsplit(url).scheme.upper()
