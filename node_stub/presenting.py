"""What callers see of what the node remembers."""

from collections.abc import Sequence
from uuid import UUID

from gateway.wire.documents import Document
from node_stub.documents import (
    Collection,
    build_offerset,
    components_of,
    show,
    url_of,
)
from node_stub.records import OfferSetRecord, SessionRecord
from node_stub.sessions import Caller


def present_session(
    record: SessionRecord, caller: Caller, base_url: str, refusal: Document | None = None
) -> Document:
    """The session as this caller sees it.

    ``refusal`` says why an update was refused: only to the one who asked for it, only once.
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
    if refusal is not None:
        meta = document["meta"]
        document["meta"] = {**meta, "messages": [*meta.get("messages", ()), refusal]}
    return document


def present_offerset(
    record: OfferSetRecord, sessions: Sequence[SessionRecord], caller: Caller, base_url: str
) -> Document:
    """The offer set as this caller sees it, its sessions as they stand."""
    return build_offerset(
        uuid=record.uuid,
        created=record.created,
        base_url=base_url,
        result=record.result,
        offers=[
            present_session(session, caller, base_url)
            for session in sessions
            if session.slot is not None
        ],
        messages=record.messages,
    )


def present_component(
    record: SessionRecord, collection: Collection, uuid: UUID, caller: Caller, base_url: str
) -> Document | None:
    """One component of the session; None if it is not of this collection."""
    session = present_session(record, caller, base_url)
    for found, component in components_of(session):
        if found is collection and component["meta"]["uuid"] == str(uuid):
            return component
    return None
