"""The client of one node broker: gives exchanges their meaning, and believes nothing unread.

Source: ExecutionBroker API v1.0 as the upstream services speak it. A request is answered 303 or
200, the answer in the body; an update is answered 200 even where it was refused, so that only the
phase counts.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urljoin, urlsplit
from uuid import UUID

import msgspec

from gateway.clients.exchange import (
    NodeGarbageError,
    NodeLostError,
    NodeSessionUnknownError,
    NodeStatusError,
    NodeTransport,
    Progress,
    Reply,
    ReplyStream,
    StreamTimeouts,
    Timeouts,
    collected,
)
from gateway.domain.node import NodeProfile
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.wire.decode import InvalidDocumentError, decode_offerset, decode_session
from gateway.wire.documents import Document, from_json, to_json
from gateway.wire.headers import FEDERATION_BUDGET_MS, FEDERATION_PATH, IDEMPOTENCY_KEY, REQUEST_ID
from gateway.wire.kinds import ENUM_UPDATE
from gateway.wire.phases import SessionPhase
from gateway.wire.views import SessionView

CONNECT_S: Final = 1.0
"""Longest wait for a connection: a fifth of the default deadline."""

_DECODE_BITE_BYTES: Final = 64 << 10
"""Other nodes' answers get their turn after this much was decoded: some 0.2 ms."""

_MAX_PROBLEM_BYTES: Final = 16 << 10
"""A longer failure body is not kept."""

_OUTPUT_STATUSES: Final = frozenset({200, 206, 304, 416})


@dataclass(frozen=True, slots=True)
class CallContext:
    """What goes with a call besides its document.

    ``authorization`` is the header that the client sent, for nodes with pass-through credentials.
    ``path`` are the identities of the gateways passed so far, this one included. ``known_kinds``
    are component kinds beyond the schema that the client has used itself: it can read them back.
    """

    request_id: str | None = None
    authorization: str | None = field(default=None, repr=False)
    idempotency_key: str | None = None
    path: tuple[str, ...] = ()
    known_kinds: frozenset[str] = frozenset()
    query: Mapping[str, str] = field(default_factory=dict)


class ReceivedOffer(msgspec.Struct, frozen=True):
    """One offer as the node sent it, and what it says."""

    raw: bytes
    view: SessionView


@dataclass(frozen=True, slots=True)
class DroppedOffer:
    """One offer that cannot be passed on; ``uuid`` names the hold, where it could be read.

    A duplicate's UUID is that of the first, which is kept: it has no hold of its own.
    """

    uuid: UUID | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class OffersReply:
    """A node's answer to a request for offers. ``result`` is YES or NO, as it said.

    ``surplus`` is how many more offers there were than are read.
    """

    result: str
    messages: tuple[Document, ...] = ()
    offers: tuple[ReceivedOffer, ...] = ()
    dropped: tuple[DroppedOffer, ...] = ()
    surplus: int = 0
    echoes_idempotency_key: bool = False


@dataclass(frozen=True, slots=True)
class SessionReply:
    """A session as the node sent it, and what it says."""

    raw: bytes
    view: SessionView


@dataclass(frozen=True, slots=True)
class Health:
    """What a probe found. ``probed`` is the path that answered."""

    is_up: bool
    probed: str


class BrokerClient:
    """Speaks to one node. Safe for many calls at once; the transport is shared and not owned."""

    def __init__(
        self, profile: NodeProfile, transport: NodeTransport, *, connect_s: float = CONNECT_S
    ) -> None:
        self.profile = profile
        self._transport = transport
        self._connect_s = connect_s
        self._url = profile.url.rstrip("/")
        self._origin = _origin(self._url)

    async def request_offers(
        self,
        body: bytes,
        call: CallContext,
        *,
        deadline: float,
        until: float,
        honours_idempotency: bool = False,
        progress: Progress | None = None,
    ) -> OffersReply:
        """Ask for offers, which makes holds at the node.

        ``deadline`` (event loop time) is told to the node and bounds the wait for a connection; the
        answer is read until ``until``. A lost connection is asked again, once, where the node is
        known to honour the idempotency key.

        Raises
        ------
        NodeError
            There is no usable answer.
        """
        loop = asyncio.get_running_loop()

        async def ask() -> Reply:
            now = loop.time()
            headers = self._headers(call, has_body=True)
            headers[FEDERATION_BUDGET_MS] = str(max(0, int((deadline - now) * 1000)))
            connect_s = max(0.0, min(self._connect_s, deadline - now))
            return await self._transport.exchange(
                "POST", url, headers, body, timeouts=Timeouts(until, connect_s), progress=progress
            )

        url = self._url + "/requests"
        if call.query:
            url = f"{url}?{urlencode(call.query)}"
        try:
            reply = await ask()
        except NodeLostError:
            if not (honours_idempotency and call.idempotency_key and loop.time() < deadline):
                raise
            reply = await ask()
        key = call.idempotency_key
        echoes = key is not None and reply.headers.get(IDEMPOTENCY_KEY) == key
        reply = await self._settled(reply, call, until)
        return await _read_offers(reply.body, call.known_kinds, echoes_idempotency_key=echoes)

    async def read_session(self, uuid: UUID, call: CallContext, *, deadline: float) -> SessionReply:
        """The session as the node has it now.

        Raises
        ------
        NodeSessionUnknownError
            The node has no such session.
        NodeError
            There is no usable answer.
        """
        reply = await self._send("GET", f"/sessions/{uuid}", call, None, deadline)
        return await self._session(reply, uuid, call, deadline)

    async def update_phase(
        self, uuid: UUID, phase: SessionPhase, call: CallContext, *, deadline: float
    ) -> SessionReply:
        """Ask for another phase. Only the phase in the reply says whether it was granted.

        Raises
        ------
        NodeSessionUnknownError
            The node has no such session.
        NodeError
            There is no usable answer: the change may or may not have been made.
        """
        update = to_json({"kind": ENUM_UPDATE, "path": "phase", "value": phase.value})
        # A gateway that is asked strictly tells "not sure yet" from "no"; others ignore it. Whether
        # something ends is seen by the session alone, so there a refusal would say less.
        prefer = "handling=strict" if phase is SessionPhase.ACCEPTED else None
        reply = await self._send("POST", f"/sessions/{uuid}", call, update, deadline, prefer)
        return await self._session(reply, uuid, call, deadline)

    @asynccontextmanager
    async def open_output(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        call: CallContext,
        *,
        timeouts: StreamTimeouts,
    ) -> AsyncIterator[ReplyStream]:
        """What came out of a session, as it comes; ``path`` is its URL below that of the node.

        Raises
        ------
        NodeError
            There is no usable answer; a `NodeStatusError` where the node refuses.
        """
        sent = {**self._headers(call, has_body=False), **headers}
        url = self._url + path
        async with self._transport.open_stream(method, url, sent, timeouts=timeouts) as reply:
            if reply.status not in _OUTPUT_STATUSES:
                body = await collected(reply, _MAX_PROBLEM_BYTES)
                problem = _problem(Reply(reply.status, reply.headers, body))
                raise NodeStatusError(reply.status, problem)
            yield reply

    async def probe(self, call: CallContext, *, deadline: float) -> Health:
        """Ask whether the node lives: its readiness, or the health page of the upstream services.

        Raises
        ------
        NodeError
            There is no answer at all.
        """
        reply = await self._send("GET", "/readyz", call, None, deadline)
        if reply.status != 404:
            return Health(reply.status == 200, "/readyz")
        reply = await self._send("GET", "/actuator/health", call, None, deadline)
        return Health(reply.status == 200, "/actuator/health")

    def _headers(self, call: CallContext, *, has_body: bool) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if has_body:
            headers["Content-Type"] = "application/json"
        if authorization := self.profile.credentials.authorization(call.authorization):
            headers["Authorization"] = authorization
        if call.request_id is not None:
            headers[REQUEST_ID] = call.request_id
        if call.idempotency_key is not None:
            headers[IDEMPOTENCY_KEY] = call.idempotency_key
        if call.path:
            headers[FEDERATION_PATH] = ", ".join(call.path)
        return headers

    async def _send(
        self,
        method: str,
        path: str,
        call: CallContext,
        body: bytes | None,
        until: float,
        prefer: str | None = None,
    ) -> Reply:
        headers = self._headers(call, has_body=body is not None)
        if prefer is not None:
            headers["Prefer"] = prefer
        return await self._transport.exchange(
            method, self._url + path, headers, body, timeouts=Timeouts(until, self._connect_s)
        )

    async def _session(
        self, reply: Reply, uuid: UUID, call: CallContext, until: float
    ) -> SessionReply:
        if reply.status == 404:
            raise NodeSessionUnknownError(str(uuid))
        reply = await self._settled(reply, call, until)
        try:
            view = decode_session(reply.body, call.known_kinds)
        except InvalidDocumentError as error:
            raise NodeGarbageError(str(error)) from error
        if view.uuid != uuid:
            detail = "the answer is another session than the one asked for"
            raise NodeGarbageError(detail)
        return SessionReply(reply.body, view)

    async def _settled(self, reply: Reply, call: CallContext, until: float) -> Reply:
        """The reply that carries the document: a redirect without one is followed to this node."""
        if reply.status == 303 and not _looks_like_object(reply.body):
            location = urljoin(self._url + "/", reply.headers.get("Location", ""))
            if not reply.headers.get("Location") or _origin(location) != self._origin:
                detail = "it redirects elsewhere, without the document"
                raise NodeGarbageError(detail)
            reply = await self._transport.exchange(
                "GET",
                location,
                self._headers(call, has_body=False),
                timeouts=Timeouts(until, self._connect_s),
            )
            if reply.status != 200:
                raise NodeStatusError(reply.status, _problem(reply), has_acted=True)
        if reply.status not in {200, 303}:
            raise NodeStatusError(reply.status, _problem(reply))
        content_type = _media_type(reply)
        if content_type and not _is_json(content_type):
            detail = f"the answer is not JSON but {content_type[:64]}"
            raise NodeGarbageError(detail)
        return reply


async def _read_offers(
    body: bytes, known_kinds: frozenset[str], *, echoes_idempotency_key: bool
) -> OffersReply:
    """Decode an offer set, offer by offer: one that cannot be passed on costs only itself."""
    try:
        envelope = decode_offerset(body)
    except InvalidDocumentError as error:
        raise NodeGarbageError(str(error)) from error
    offers: dict[UUID, ReceivedOffer] = {}
    dropped: list[DroppedOffer] = []
    bite = 0
    for raw in envelope.offers:
        bite += len(raw)
        if bite > _DECODE_BITE_BYTES:
            bite = 0
            await asyncio.sleep(0)
        try:
            view = decode_session(raw, known_kinds)
        except InvalidDocumentError as error:
            why = reason(ReasonCode.INVALID_OFFER, detail=str(error))
            dropped.append(DroppedOffer(_uuid_of(raw), why))
            continue
        if view.uuid in offers:
            why = reason(ReasonCode.DUPLICATE_OFFER, uuid=view.uuid)
            dropped.append(DroppedOffer(view.uuid, why))
            continue
        offers[view.uuid] = ReceivedOffer(raw, view)
    return OffersReply(
        result=envelope.result,
        messages=tuple(envelope.messages),
        offers=tuple(offers.values()),
        dropped=tuple(dropped),
        surplus=envelope.surplus,
        echoes_idempotency_key=echoes_idempotency_key,
    )


def _uuid_of(raw: bytes) -> UUID | None:
    """The UUID of an offer that is otherwise unreadable, so that its hold can be let go."""
    try:
        return UUID(from_json(raw)["meta"]["uuid"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _problem(reply: Reply) -> Document | None:
    if len(reply.body) > _MAX_PROBLEM_BYTES or not _is_json(_media_type(reply)):
        return None
    try:
        body = from_json(reply.body)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _media_type(reply: Reply) -> str:
    return reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


def _looks_like_object(body: bytes) -> bool:
    return body.lstrip()[:1] == b"{"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)
