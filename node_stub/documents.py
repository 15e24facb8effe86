"""The session and offer set documents of this node: built once, shown in many phases. Pure.

Component UUIDs are derived from the session's, so that each offer of one request has its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid5

from gateway.wire import kinds
from gateway.wire.documents import Document
from gateway.wire.phases import (
    CLIENT_MOVES,
    TERMINAL_SESSION_PHASES,
    ComponentPhase,
    ConnectorStatus,
    SessionPhase,
)
from gateway.wire.times import format_instant
from node_stub.checks.findings import block, listed
from node_stub.policy import Verdict
from node_stub.rules import Figure, Profile
from node_stub.schedules import Schedules, shift_to, shifted
from node_stub.slots import Slot
from node_stub.standing import Component, ComponentPhases

CONNECTOR_KIND: Final = "urn:execbroker:connector:"
"""What the kind of a connector begins with; its protocol follows in lower case."""

_FINISHED: Final = TERMINAL_SESSION_PHASES | {SessionPhase.RELEASING}


class OfferResult(StrEnum):
    """Whether a node can run what was asked."""

    YES = "YES"
    NO = "NO"


class Collection(StrEnum):
    """Where a document lives below the base URL."""

    OFFERSETS = "offersets"
    SESSIONS = "sessions"
    EXECUTABLES = "executables"
    COMPUTE = "compute"
    STORAGE = "storage"
    DATA = "data"
    VOLUMES = "volumes"


def url_of(base_url: str, collection: Collection, uuid: UUID | str) -> str:
    """Where a document can be read."""
    return f"{base_url.rstrip('/')}/{collection}/{uuid}"


def components_of(session: Document) -> Iterator[tuple[Collection, Document]]:
    """Every component of a session: executable, compute, its volumes, storage, data."""
    if executable := session.get("executable"):
        yield Collection.EXECUTABLES, executable
    if compute := session.get("compute"):
        yield Collection.COMPUTE, compute
        yield from ((Collection.VOLUMES, volume) for volume in compute.get("volumes") or ())
    yield from ((Collection.STORAGE, storage) for storage in session.get("storage") or ())
    yield from ((Collection.DATA, data) for data in session.get("data") or ())


def offer_name(verdict: Verdict, number: int) -> str:
    """The name of the offer of this number: after the client's executable, if that has one."""
    name = verdict.document["executable"]["meta"].get("name")
    return f"{name}-offer-{number}" if name else f"offer-{number}"


def build_session(
    verdict: Verdict,
    slot: Slot,
    *,
    uuid: UUID,
    name: str,
    created: datetime,
    expires: datetime,
    base_url: str,
    profile: Profile,
) -> Document:
    """The complete offer of this slot, which was found for this verdict."""
    request = _renamed(verdict.document, uuid)
    shares = {_derived(uuid, old): share for old, share in verdict.plan.shares.items()}
    schedules = Schedules(slot)

    def filed(component: Document, collection: Collection) -> Document:
        placed = _placed(component, collection, base_url)
        placed["meta"]["created"] = format_instant(created)
        return placed

    def finished(component: Document, collection: Collection) -> Document:
        return {
            **filed(component, collection),
            "phase": ComponentPhase.INITIALIZING.value,
            "schedule": schedules.of_component(shares[component["meta"]["uuid"]]),
        }

    executable = finished(request["executable"], Collection.EXECUTABLES)
    compute = finished(_sized_compute(request["compute"], slot, profile), Collection.COMPUTE)
    if volumes := request["compute"].get("volumes"):
        compute["volumes"] = [filed(volume, Collection.VOLUMES) for volume in volumes]
    stores = _sized_storage(request["storage"], slot.amounts.storage_gib)
    meta = {"uuid": str(uuid), "name": name, "url": url_of(base_url, Collection.SESSIONS, uuid)}
    if description := _description(request):
        meta["description"] = description
    return _without_empty(
        {
            "kind": kinds.SCHEDULED_SESSION,
            "meta": _without_empty(
                {**meta, "created": format_instant(created), "messages": [*verdict.messages]}
            ),
            "costs": _items(profile.session_costs, kinds.MINMAX_COST),
            "metrics": _items(profile.session_metrics, kinds.MINMAX_METRIC),
            "executable": executable,
            "compute": compute,
            "storage": [finished(store, Collection.STORAGE) for store in stores],
            "data": [finished(data, Collection.DATA) for data in request["data"]],
            "phase": SessionPhase.OFFERED.value,
            "expires": format_instant(expires),
            "connectors": _connectors(executable),
            "schedule": schedules.of_session(),
        }
    )


def build_offerset(
    *,
    uuid: UUID,
    created: datetime,
    base_url: str,
    result: OfferResult,
    offers: Sequence[Document] = (),
    messages: Sequence[Document] = (),
) -> Document:
    """The answer to one request; a NO says why in ``messages``."""
    meta = {
        "uuid": str(uuid),
        "url": url_of(base_url, Collection.OFFERSETS, uuid),
        "created": format_instant(created),
        "messages": [*messages],
    }
    return _without_empty(
        {
            "kind": kinds.OFFERSET,
            "meta": _without_empty(meta),
            "result": result.value,
            "offers": [*offers],
        }
    )


def failed_session(*, uuid: UUID, created: datetime, messages: Sequence[Document]) -> Document:
    """What a request for direct execution is answered that cannot be met."""
    return {
        "kind": kinds.SCHEDULED_SESSION,
        "meta": {
            "uuid": str(uuid),
            "created": format_instant(created),
            "messages": [*messages],
        },
        "phase": SessionPhase.FAILED.value,
    }


def _sized_compute(compute: Document, slot: Slot, profile: Profile) -> Document:
    amounts = slot.amounts
    head = {"kind": compute["kind"], "meta": compute["meta"]}
    figures = {
        "costs": _items(profile.compute_costs, kinds.MINMAX_COST),
        "metrics": _items(profile.compute_metrics, kinds.MINMAX_METRIC),
    }
    return {
        **head,
        **_without_empty(figures),
        **{k: v for k, v in compute.items() if k not in head},
        "cores": {**compute["cores"], "min": amounts.cores, "max": amounts.cores},
        "memory": {**compute["memory"], "min": amounts.memory_gib, "max": amounts.memory_gib},
    }


def _sized_storage(storage: Sequence[Document], total_gib: int) -> list[Document]:
    """Each resource with its minimum, and what is over shared out up to the maxima, in order."""
    spare = total_gib - sum(store["size"]["min"] for store in storage)
    sized: list[Document] = []
    for store in storage:
        least = store["size"]["min"]
        more = max(0, min(spare, store["size"].get("max", least) - least))
        spare -= more
        size = {**store["size"], "min": least + more, "max": least + more}
        sized.append({**store, "size": size})
    return sized


def _items(figures: Sequence[Figure], kind: str) -> list[Document]:
    return [
        {
            "kind": kind,
            "type": figure.type,
            **({"description": figure.description} if figure.description else {}),
            **({} if figure.min is None else {"min": figure.min}),
            **({} if figure.max is None else {"max": figure.max}),
        }
        for figure in figures
    ]


def _connectors(executable: Document) -> list[Document]:
    """One for each port that the user wants to reach, in the order of the ports."""
    ports = listed(block(executable, "network"), "ports")
    return [
        {
            "kind": CONNECTOR_KIND + ports[number]["protocol"].lower(),
            "status": ConnectorStatus.PREPARING.value,
            "protocol": ports[number]["protocol"],
        }
        for number in reachable_ports(executable)
    ]


def reachable_ports(executable: Document) -> list[int]:
    """The places, among the ports of the executable, of those that the user wants to reach."""
    if executable["kind"] != kinds.DOCKER_CONTAINER:
        return []
    ports = listed(block(executable, "network"), "ports")
    return [number for number, port in enumerate(ports) if port.get("access")]


def _description(request: Document) -> str | None:
    """The client's, of the request as a whole or else of the executable."""
    for meta in (request.get("meta") or {}, request["executable"]["meta"]):
        if isinstance(found := meta.get("description"), str) and found:
            return found
    return None


def _derived(session: UUID, component: str) -> str:
    return str(uuid5(session, component))


def _renamed(request: Document, session: UUID) -> Document:
    """The request under the UUIDs of one session, cross references included."""

    def own(component: Document) -> Document:
        meta = component["meta"]
        return {**component, "meta": {**meta, "uuid": _derived(session, meta["uuid"])}}

    def volume(mount: Document) -> Document:
        return {**own(mount), "resource": _derived(session, mount["resource"])}

    compute = own(request["compute"])
    if volumes := compute.get("volumes"):
        compute["volumes"] = [volume(mount) for mount in volumes]
    return {
        **request,
        "executable": own(request["executable"]),
        "compute": compute,
        "storage": [
            {**own(store), "data": [_derived(session, uuid) for uuid in store["data"]]}
            for store in request["storage"]
        ],
        "data": [
            {**own(data), "storage": _derived(session, data["storage"])} for data in request["data"]
        ],
    }


def show(
    document: Document,
    *,
    phase: SessionPhase,
    components: ComponentPhases,
    base_url: str,
    modified: datetime | None = None,
    can_update: bool = False,
    messages: Mapping[str, Sequence[Document]] | None = None,
) -> Document:
    """What a reader sees of a stored session; the stored document is not changed.

    Parameters
    ----------
    components
        Their phases; all storage moves as one, all data too. One that is missing keeps the stored
        phase.
    can_update
        Whether the caller may change the session: only then are there options.
    messages
        Added since the offer was made, by component; ``session`` for the session's own.
    """
    added = messages or {}

    def shown(component: Document, collection: Collection, part: Component) -> Document:
        moved = component
        if part in components:
            moved = {**component, "phase": components[part].value}
        return _said(_placed(moved, collection, base_url), added.get(part, ()))

    session = _said(_placed(document, Collection.SESSIONS, base_url), added.get("session", ()))
    session["phase"] = phase.value
    if executable := document.get("executable"):
        session["executable"] = shown(executable, Collection.EXECUTABLES, Component.EXECUTABLE)
    if compute := document.get("compute"):
        session["compute"] = shown(compute, Collection.COMPUTE, Component.COMPUTE)
        if volumes := compute.get("volumes"):
            placed = [_placed(mount, Collection.VOLUMES, base_url) for mount in volumes]
            session["compute"]["volumes"] = placed
    for part, collection in (
        (Component.STORAGE, Collection.STORAGE),
        (Component.DATA, Collection.DATA),
    ):
        if part in document:
            items = [shown(item, collection, part) for item in document[part]]
            session[part.value] = items
    if connectors := document.get("connectors"):
        session["connectors"] = _shown_connectors(connectors, phase)
    if modified is not None:
        session["meta"]["modified"] = format_instant(modified)
    if options := options_of(phase, can_update=can_update):
        session["meta"]["options"] = options
    return session


def options_of(phase: SessionPhase, *, can_update: bool) -> list[Document]:
    """What the caller may ask of a session in this phase: nothing of somebody else's."""
    moves = CLIENT_MOVES.get(phase, ()) if can_update else ()
    if not moves:
        return []
    return [{"kind": kinds.ENUM_OPTION, "path": "phase", "values": [move.value for move in moves]}]


def reschedule(document: Document, start: int) -> Document:
    """The session with all schedules moved so that it is available from ``start`` exactly.

    ``start`` is in seconds since 1970. An accepted session has no start interval any more.
    """
    shift = shift_to(document["schedule"], start)
    moved = {**document, "schedule": shifted(document["schedule"], shift)}
    for member in ("executable", "compute"):
        moved[member] = _rescheduled(document[member], shift)
    for member in ("storage", "data"):
        if member in document:
            moved[member] = [_rescheduled(item, shift) for item in document[member]]
    return moved


def _rescheduled(component: Document, shift: timedelta) -> Document:
    return {**component, "schedule": shifted(component["schedule"], shift)}


def _placed(component: Document, collection: Collection, base_url: str) -> Document:
    meta = component["meta"]
    return {**component, "meta": {**meta, "url": url_of(base_url, collection, meta["uuid"])}}


def _said(component: Document, messages: Sequence[Document]) -> Document:
    if not messages:
        return component
    meta = component["meta"]
    return {**component, "meta": {**meta, "messages": [*meta.get("messages", ()), *messages]}}


def _shown_connectors(connectors: Sequence[Document], phase: SessionPhase) -> list[Document]:
    """As they are, until there is nothing to reach any more."""
    if phase not in _FINISHED:
        return [*connectors]
    return [
        {
            **{member: value for member, value in connector.items() if member != "location"},
            "status": ConnectorStatus.FINISHED.value,
        }
        for connector in connectors
    ]


def _without_empty(document: Document) -> Document:
    """Without lists that hold nothing."""
    return {member: value for member, value in document.items() if value != []}
