"""The documents of a broker that has no capacity to look after: offers as they are asked for."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from gateway.wire.documents import Document, to_json
from gateway.wire.kinds import (
    DOCKER_CONTAINER,
    ENUM_OPTION,
    MINMAX_COST,
    MONETARY_COST,
    OFFERSET,
    SCHEDULED_SESSION,
    SIMPLE_COMPUTE,
)
from gateway.wire.messages import message
from gateway.wire.phases import CLIENT_MOVES, MessageLevel, SessionPhase
from gateway.wire.times import format_instant
from node_stub.misbehave.exchange import http_reply

EXPIRES_S: Final = 300
"""How long an offer is held: what a node broker does by default."""

START_IN_S: Final = 60.0
"""From the request to the start that is offered."""

DEFAULT_CORES: Final = 2
DEFAULT_MEMORY_GIB: Final = 2
"""What is offered to a request that does not say what it needs."""

_EXECUTABLE: Final[Document] = {
    "kind": DOCKER_CONTAINER,
    "image": {"locations": ["registry.example.org/example/image:1"]},
}


def offer_document(
    url: str = "http://node.invalid",
    *,
    request: Document | None = None,
    start_in_s: float = START_IN_S,
    now: datetime | None = None,
    uuid: UUID | None = None,
) -> Document:
    """A valid offer that gives the request what it needs, with fresh UUIDs.

    ``now`` is what the node takes for the time. ``uuid`` is that of the session, if not a fresh
    one.
    """
    wanted = {} if request is None else request
    now = now or datetime.now(UTC)
    session = str(uuid or uuid4())
    start = _start(wanted) or f"{_instant(now + timedelta(seconds=start_in_s))}/PT5M"
    compute = _object(wanted.get("compute"))
    document: Document = {
        "kind": SCHEDULED_SESSION,
        "meta": {
            "uuid": session,
            "url": f"{url}/sessions/{session}",
            "created": _instant(now),
        },
        "costs": [{"kind": MINMAX_COST, "type": MONETARY_COST, "min": 0.1, "max": 0.5}],
        "executable": _component(
            _object(wanted.get("executable")) or _EXECUTABLE, f"{url}/executables"
        ),
        "compute": _component({"kind": SIMPLE_COMPUTE, **compute}, f"{url}/compute")
        | {
            "schedule": {"available": {"start": start, "duration": _duration(wanted)}},
            "cores": _amount(compute.get("cores"), DEFAULT_CORES),
            "memory": _amount(compute.get("memory"), DEFAULT_MEMORY_GIB),
        },
        "expires": _instant(now + timedelta(seconds=EXPIRES_S)),
    }
    for part in ("storage", "data"):
        if isinstance(items := wanted.get(part), list):
            document[part] = [_component(_object(item), f"{url}/{part}") for item in items]
    return in_phase(document, SessionPhase.OFFERED)


def in_phase(document: Document, phase: SessionPhase) -> Document:
    """The session in this phase, with what its owner may ask for then."""
    moves = [move.value for move in CLIENT_MOVES.get(phase, ())]
    options = [{"kind": ENUM_OPTION, "path": "phase", "values": moves}] if moves else []
    meta = {**document["meta"], "options": options}
    return {**document, "meta": meta, "phase": phase.value}


def offerset_document(offers: list[Document], url: str = "http://node.invalid") -> Document:
    """A valid answer to a request: YES with these offers, NO without."""
    uuid = str(uuid4())
    document: Document = {
        "kind": OFFERSET,
        "meta": {"uuid": uuid, "url": f"{url}/offersets/{uuid}"},
        "result": "YES" if offers else "NO",
    }
    if offers:
        document["offers"] = offers
    return document


def refusal_document(text: str) -> Document:
    """A proper NO with its reason."""
    document = offerset_document([])
    said = message("urn:no-capacity", MessageLevel.WARN, text, {}, datetime.now(UTC))
    document["meta"]["messages"] = [said]
    return document


def problem_reply(status: str, detail: str, headers: str = "") -> bytes:
    """An HTTP answer that is a problem (RFC 9457); ``status`` is the code and its phrase."""
    code, _, title = status.partition(" ")
    body = {"type": "about:blank", "title": title, "status": int(code), "detail": detail}
    return http_reply(
        to_json(body), status=status, content_type="application/problem+json", headers=headers
    )


def _component(asked: Document, url: str) -> Document:
    uuid = str(uuid4())
    document = deepcopy(asked)
    meta = {**_object(document.get("meta")), "uuid": uuid, "url": f"{url}/{uuid}"}
    return {**document, "meta": meta, "phase": "INITIALIZING"}


def _object(value: Any) -> Document:
    return value if isinstance(value, dict) else {}


def _amount(asked: Any, default: int) -> Document:
    bounds = _object(asked)
    least = bounds.get("min") or min(default, bounds.get("max") or default)
    return {"min": least, "max": least}


def _requested(request: Document) -> Document:
    return _object(_object(request.get("schedule")).get("requested"))


def _duration(request: Document) -> str:
    duration: str = _requested(request).get("duration") or "PT30M"
    return duration


def _start(request: Document) -> str | None:
    """The first interval in which the request would like to start."""
    starts = _requested(request).get("start")
    first = starts[0] if isinstance(starts, list) and starts else starts
    return first if isinstance(first, str) else None


def _instant(moment: datetime) -> str:
    return format_instant(moment.replace(microsecond=0))
