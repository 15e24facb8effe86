"""A broker that answers from memory, without capacity, schedule or store: for tests of clients.

It speaks as a gateway (``federation`` members, ``/nodes``) or as a plain node broker. The tests of
the generated client run against it and against the real services alike, so its shapes stay true.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from aiohttp import web

from gateway.cli.watching import Polling
from gateway.wire.kinds import (
    CARBON_COST,
    COMPUTE_PERFORMANCE,
    DOCKER_CONTAINER,
    ENERGY_COST,
    ENUM_OPTION,
    MINMAX_COST,
    MINMAX_METRIC,
    MONETARY_COST,
    OFFERSET,
    SCHEDULED_SESSION,
    SIMPLE_COMPUTE,
)
from gateway.wire.phases import (
    CLIENT_MOVES,
    EXECUTION_PHASES,
    SessionPhase,
    can_client_move,
    is_terminal,
)
from gateway.wire.problem import PROBLEM_BASE

USERNAME: Final = "tester"
PASSWORD: Final = "correct horse"
FAST: Final = Polling(first_s=0.001, longest_s=0.01, patience_s=0.05)
NODES: Final = ("alpha", "beta", "gamma")
_PRICES: Final = {"alpha": (0.3, 0.8), "beta": (0.05, 0.15), "gamma": (0.02, 0.08)}
_PROGRESS: Final = (*EXECUTION_PHASES, SessionPhase.COMPLETED)

Json = dict[str, Any]


def _instant(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _quote(kind: str, type_urn: str, low: float, high: float) -> Json:
    return {"kind": kind, "type": type_urn, "min": low, "max": high}


def message(kind: str, text: str, level: str = "WARN") -> Json:
    """A complete message of the wire."""
    now = _instant(datetime.now(UTC))
    return {"kind": kind, "time": now, "level": level, "template": text, "message": text}


def problem(status: int, title: str, detail: str, **extensions: object) -> web.Response:
    """A problem body with its content type."""
    document = {
        "type": PROBLEM_BASE + title.lower().replace(" ", "-"),
        "title": title,
        "status": status,
        "detail": detail,
        "instance": "req-1",
        **extensions,
    }
    return web.json_response(document, status=status, content_type="application/problem+json")


@dataclass
class Seen:
    """One request as the broker saw it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass
class CannedBroker:
    """What it knows, and how it misbehaves.

    ``lose`` counts the coming submits and updates whose reply is lost after they took effect,
    ``drop`` the coming requests whose connection is lost before they are looked at. A refused
    update is answered 200 unchanged unless strict handling is preferred. ``overloaded`` counts the
    coming requests that are turned away, to come again after ``retry_after`` where it is said.
    """

    federated: bool = True
    offers: int = 3
    lose: int = 0
    drop: int = 0
    refuse_accept: bool = False
    result_no: bool = False
    away: bool = False
    overloaded: int = 0
    retry_after: str | None = "0"
    sessions: dict[UUID, Json] = field(default_factory=dict)
    offersets: dict[UUID, Json] = field(default_factory=dict)
    by_key: dict[str, UUID] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def app(self) -> web.Application:
        """A fresh application over this state."""
        app = web.Application(middlewares=[self._middleware])
        app.router.add_post("/requests", self._submit)
        app.router.add_post("/direct", self._direct)
        app.router.add_get("/offersets/{uuid}", self._offerset)
        app.router.add_get("/sessions/{uuid}", self._session)
        app.router.add_post("/sessions/{uuid}", self._update)
        if self.federated:
            app.router.add_get("/nodes", self._nodes)
            app.router.add_post("/discovery/estimate", self._estimate)
        return app

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.seen.append(
            Seen(request.method, request.path, dict(request.query), dict(request.headers), body)
        )
        if self.drop > 0:
            self.drop -= 1
            _cut(request)
        if self.overloaded > 0:
            self.overloaded -= 1
            answer = problem(503, "Overloaded", "nothing was begun")
            if self.retry_after is not None:
                answer.headers["Retry-After"] = self.retry_after
            return answer
        if self.away:
            detail, coverage = "no node of this federation answered", self._coverage()
            return problem(503, "No node answered", detail, coverage=coverage[-1:])
        header = request.headers.get("Authorization")
        if header is None and request.method == "POST":
            return problem(401, "Unauthorized", "who are you?")
        if header is not None and header != _basic(USERNAME, PASSWORD):
            return problem(401, "Unauthorized", "wrong user name or password")
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPNotFound:
            return problem(404, "Not found", f"there is nothing at {request.path}")
        if request.method == "POST" and self.lose > 0:
            self.lose -= 1
            _cut(request)
        return response

    async def _submit(self, request: web.Request) -> web.Response:
        key = request.headers.get("Idempotency-Key", str(uuid4()))
        if key not in self.by_key:
            self.by_key[key] = self._make_offerset(request)
        uuid = self.by_key[key]
        location = f"{request.url.origin()}/offersets/{uuid}"
        return web.json_response(self.offersets[uuid], status=303, headers={"Location": location})

    def _make_offerset(self, request: web.Request) -> UUID:
        uuid = uuid4()
        document: Json = {
            "kind": OFFERSET,
            "meta": {
                "uuid": str(uuid),
                "url": f"{request.url.origin()}/offersets/{uuid}",
                "created": _instant(datetime.now(UTC)),
            },
            "result": "NO" if self.result_no else "YES",
        }
        if self.result_no:
            text = "asked for 5000 cores, the limit is 16"
            document["meta"]["messages"] = [message("urn:resource-limit", text)]
        else:
            limit = int(request.query.get("limit", self.offers))
            document["offers"] = [self._make_offer(request, rank) for rank in range(1, limit + 1)]
        if self.federated:
            document["federation"] = {"coverage": self._coverage()}
        self.offersets[uuid] = document
        return uuid

    def _coverage(self) -> list[Json]:
        outcome = "no" if self.result_no else "answered"
        entries: list[Json] = [
            {"node": node, "outcome": outcome, "reason": None, "took_ms": 12, "offers": 1}
            for node in NODES
        ]
        reason = {"code": "connection-refused", "text": "the connection was refused"}
        return [*entries, {"node": "delta", "outcome": "refused", "reason": reason, "offers": 0}]

    def _make_offer(self, request: web.Request, rank: int) -> Json:
        node = NODES[(rank - 1) % len(NODES)]
        uuid = uuid4()
        document = offer_document(str(request.url.origin()), uuid, node, rank)
        if not self.federated:
            del document["federation"]
        self.sessions[uuid] = document
        return document

    async def _direct(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "executable" not in body:
            text = "Description of the executable is required"
            failed: Json = {
                "kind": SCHEDULED_SESSION,
                "meta": {
                    "uuid": str(uuid4()),
                    "messages": [message("urn:executable-required", text, "ERROR")],
                },
                "phase": "FAILED",
            }
            return web.json_response(failed, status=400)
        key = request.headers.get("Idempotency-Key", str(uuid4()))
        if key not in self.by_key:
            document = self._make_offer(request, 1)
            _move(document, SessionPhase.ACCEPTED)
            self.by_key[key] = UUID(document["meta"]["uuid"])
        uuid = self.by_key[key]
        location = f"{request.url.origin()}/sessions/{uuid}"
        return web.json_response(self.sessions[uuid], status=303, headers={"Location": location})

    async def _offerset(self, request: web.Request) -> web.Response:
        return web.json_response(_find(self.offersets, request))

    async def _session(self, request: web.Request) -> web.Response:
        document = _find(self.sessions, request)
        phase = SessionPhase(document["phase"])
        answer = web.json_response(document)
        if phase in EXECUTION_PHASES:  # the next read sees it one step on
            _move(document, _PROGRESS[_PROGRESS.index(phase) + 1])
        return answer

    async def _update(self, request: web.Request) -> web.Response:
        document = _find(self.sessions, request)
        now, then = SessionPhase(document["phase"]), SessionPhase((await request.json())["value"])
        if self.refuse_accept or (now is not then and not can_client_move(now, then)):
            text = f"a session in phase {now} cannot be set to {then}"
            if "handling=strict" in request.headers.get("Prefer", ""):
                return problem(409, "Conflict", text)
            meta = document["meta"] | {"messages": [message("urn:update-refused", text)]}
            return web.json_response(document | {"meta": meta})
        if now is not then:
            _move(document, then)
            self._release_siblings(document, then)
        return web.json_response(document)

    def _release_siblings(self, document: Json, then: SessionPhase) -> None:
        if then is not SessionPhase.ACCEPTED:
            return
        for offerset in self.offersets.values():
            siblings = offerset.get("offers", [])
            if any(one is document for one in siblings):
                for one in siblings:
                    if one is not document:
                        _move(one, SessionPhase.REJECTED)

    async def _estimate(self, _: web.Request) -> web.Response:
        asked = [{"node": node, "site": "uk"} for node in NODES]
        return web.json_response({"is_permitted": True, "asked": asked, "skipped": []})

    async def _nodes(self, _: web.Request) -> web.Response:
        nodes: Sequence[Json] = [
            {
                "name": node,
                "url": f"http://{node}.example.org",
                "site": "uk",
                "storage": [],
                "is_enabled": True,
                "honours_idempotency": None,
                "last": {
                    "outcome": "answered",
                    "reason": None,
                    "asked": _instant(datetime.now(UTC)),
                    "seen": _instant(datetime.now(UTC)),
                },
                "latency_ms": {"mean": 12, "p50": 12, "p95": 12},
                "in_flight": 0,
            }
            for node in NODES
        ]
        return web.json_response({"nodes": nodes})


def offer_document(origin: str, uuid: UUID, node: str, rank: int) -> Json:
    """An offer as a gateway hands it out."""
    now = datetime.now(UTC)
    low, high = _PRICES[node]
    start = now + timedelta(seconds=5 * rank)
    available = {"start": f"{_instant(start)}/PT5M", "duration": "PT30M"}
    document: Json = {
        "kind": SCHEDULED_SESSION,
        "meta": {
            "uuid": str(uuid),
            "name": f"example-offer-{rank}",
            "url": f"{origin}/sessions/{uuid}",
            "created": _instant(now),
        },
        "costs": [
            _quote(MINMAX_COST, MONETARY_COST, low, high),
            _quote(MINMAX_COST, ENERGY_COST, 0.01, 0.03),
            _quote(MINMAX_COST, CARBON_COST, 2, 8),
        ],
        "metrics": [_quote(MINMAX_METRIC, COMPUTE_PERFORMANCE, 250, 300)],
        "executable": {
            "kind": DOCKER_CONTAINER,
            "meta": {"uuid": str(uuid4()), "name": "example"},
            "phase": "INITIALIZING",
            "image": {"locations": ["registry.example.org/example:1"]},
        },
        "compute": {
            "kind": SIMPLE_COMPUTE,
            "meta": {"uuid": str(uuid4())},
            "phase": "INITIALIZING",
            "schedule": {"available": available},
            "cores": {"min": 2, "max": 4},
            "memory": {"min": 2, "max": 2},
        },
        "schedule": {"available": available},
        "expires": _instant(now + timedelta(minutes=5)),
        "federation": {
            "node": node,
            "path": [node],
            "rank": rank,
            "score": 1 - rank / 10,
            "reasons": [{"code": "starts-soon", "text": f"starts in {5 * rank} s"}],
        },
    }
    _move(document, SessionPhase.OFFERED)
    return document


def _move(document: Json, phase: SessionPhase) -> None:
    document["phase"] = phase.value
    moves = CLIENT_MOVES.get(phase, ())
    option = {"kind": ENUM_OPTION, "path": "phase", "values": [move.value for move in moves]}
    document["meta"]["options"] = [] if is_terminal(phase) or not moves else [option]


def _find(documents: Mapping[UUID, Json], request: web.Request) -> Json:
    try:
        return documents[UUID(request.match_info["uuid"])]
    except (KeyError, ValueError):
        raise web.HTTPNotFound from None


def _cut(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
