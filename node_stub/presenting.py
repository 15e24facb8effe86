"""What callers see of what the node remembers."""

from collections.abc import Sequence, Set
from uuid import UUID

from gateway.wire.documents import Document
from node_stub.documents import (
    Collection,
    build_offerset,
    components_of,
    show,
    url_of,
)
from node_stub.output_documents import output_connectors
from node_stub.records import OfferSetRecord, SessionRecord
from node_stub.sessions import Caller


def present_session(
    record: SessionRecord,
    caller: Caller,
    base_url: str,
    kept: Set[UUID],
    refusal: Document | None = None,
) -> Document:
    """The session as this caller sees it.

    Parameters
    ----------
    kept
        The sessions of whose outputs something is kept.
    refusal
        Why an update was refused: only to the one who asked for it, only once.
    """
    if record.slot is None:
        meta = record.document["meta"]
        url = url_of(base_url, Collection.SESSIONS, record.uuid)
        document = {**record.document, "meta": {**meta, "url": url}}
    else:
        document = show(
            record.document,
            phase=record.phase,
            components=dict(record.standing.components),
            base_url=base_url,
            modified=record.modified,
            can_update=caller.may_change(record.owner),
            messages=record.messages,
        )
        outputs = output_connectors(
            record.uuid, base_url, record.phase, has_outputs=record.uuid in kept
        )
        if outputs and record.start_at is not None:
            document["connectors"] = [*document.get("connectors", ()), *outputs]
    if refusal is not None:
        meta = document["meta"]
        document["meta"] = {**meta, "messages": [*meta.get("messages", ()), refusal]}
    return document


def present_offerset(
    record: OfferSetRecord,
    sessions: Sequence[SessionRecord],
    caller: Caller,
    base_url: str,
    kept: Set[UUID],
) -> Document:
    """The offer set as this caller sees it, its sessions as they stand."""
    return build_offerset(
        uuid=record.uuid,
        created=record.created,
        base_url=base_url,
        result=record.result,
        offers=[
            present_session(session, caller, base_url, kept)
            for session in sessions
            if session.slot is not None
        ],
        messages=record.messages,
    )


def present_component(
    record: SessionRecord, collection: Collection, uuid: UUID, caller: Caller, base_url: str
) -> Document | None:
    """One component of the session; None if it is not of this collection."""
    session = present_session(record, caller, base_url, frozenset())
    for found, component in components_of(session):
        if found is collection and component["meta"]["uuid"] == str(uuid):
            return component
    return None
