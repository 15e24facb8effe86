"""A node that knows simple data only, as the upstream services do, and shows what it was sent."""

import asyncio
import json
from dataclasses import dataclass, field
from uuid import uuid4

from gateway.wire.documents import Document
from gateway.wire.kinds import BYTES_STAGED, MINMAX_METRIC, SIMPLE_DATA, STAGING_TIME
from tests.support.faulty_nodes import Asked, http_reply, offer_document, offerset_document


@dataclass(slots=True)
class PlainNode:
    """What the node holds. Use it as a behaviour of ``faulty_nodes.running``.

    ``known_kinds`` are the kinds of data that it does not refuse. Accepted sessions show that they
    have staged ``staged_bytes`` in ``staged_s``.
    """

    known_kinds: frozenset[str] = frozenset({SIMPLE_DATA})
    staged_bytes: float | None = None
    staged_s: float | None = None
    requests: list[Document] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    sessions: dict[str, Document] = field(default_factory=dict)

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        if asked.path.startswith("/requests"):
            request = json.loads(asked.body)
            self.requests.append(request)
            self.keys.append(asked.headers.get("idempotency-key", ""))
            writer.write(http_reply(json.dumps(self._offers(request)).encode()))
            return
        session = self.sessions[asked.path.rpartition("/")[2]]
        if asked.method == "POST":
            session["phase"] = json.loads(asked.body)["value"]
            self._report(session)
        writer.write(http_reply(json.dumps(session).encode(), status="200 OK"))

    def _offers(self, request: Document) -> Document:
        data = request.get("data", [])
        strange = [item["kind"] for item in data if item["kind"] not in self.known_kinds]
        if strange:
            document = offerset_document([])
            text = f"Unknown type [{strange[0]}]"
            document["meta"]["messages"] = [
                {
                    "kind": "uri:unknown-type",
                    "time": "2026-08-03T09:00:00Z",
                    "level": "WARN",
                    "template": text,
                    "message": text,
                }
            ]
            return document
        offer = offer_document()
        offer["data"] = [
            {
                **item,
                "meta": {**item.get("meta", {}), "uuid": str(uuid4())},
                "phase": "INITIALIZING",
            }
            for item in data
        ]
        self.sessions[offer["meta"]["uuid"]] = offer
        return offerset_document([offer])

    def _report(self, session: Document) -> None:
        if self.staged_bytes is None or self.staged_s is None:
            return
        session["metrics"] = [
            {"kind": MINMAX_METRIC, "type": type_, "min": value, "max": value}
            for type_, value in ((BYTES_STAGED, self.staged_bytes), (STAGING_TIME, self.staged_s))
        ]
