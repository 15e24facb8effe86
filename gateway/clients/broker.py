"""The client of one node broker: gives exchanges their meaning, and believes nothing unread.

Source: ExecutionBroker API v1.0 as the upstream services speak it. A request is answered 303 or
200, the answer in the body; an update is answered 200 even where it was refused, so that only the
phase counts.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import urlencode, urljoin
from uuid import UUID

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
from gateway.clients.offers_reply import OffersReply, read_offers
from gateway.clients.replies import (
    MAX_PROBLEM_BYTES,
    is_json,
    looks_like_object,
    media_type_of,
    origin_of,
    problem_of,
)
from gateway.domain.node import NodeProfile
from gateway.wire.decode import InvalidDocumentError, decode_phase, decode_session
from gateway.wire.documents import Document, from_json, to_json
from gateway.wire.headers import (
    FEDERATION_BUDGET_MS,
    FEDERATION_PATH,
    FEDERATION_REQUEST,
    IDEMPOTENCY_KEY,
    REQUEST_ID,
)
from gateway.wire.kinds import ENUM_UPDATE
from gateway.wire.phases import SessionPhase
from gateway.wire.retry_after import retry_after_s
from gateway.wire.views import SessionView

CONNECT_S: Final = 1.0
"""Longest wait for a connection: a fifth of the default deadline."""

_ANOTHER_SESSION: Final = "the answer is another session than the one asked for"

_OUTPUT_STATUSES: Final = frozenset({200, 206, 304, 416})


@dataclass(frozen=True, slots=True)
class CallContext:
    """What goes with a call besides its document.

    ``authorization`` is the header that the client sent, for nodes with pass-through credentials.
    ``path`` are the identities of the gateways passed so far, this one included; ``root`` is the
    client's request that they all stand for. ``known_kinds``
    are component kinds beyond the schema that the client has used itself: it can read them back.
    """

    request_id: str | None = None
    authorization: str | None = field(default=None, repr=False)
    idempotency_key: str | None = None
    path: tuple[str, ...] = ()
    root: UUID | None = None
    known_kinds: frozenset[str] = frozenset()
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionReply:
    """A session as the node sent it, and what it says."""

    raw: bytes
    view: SessionView


@dataclass(frozen=True, slots=True)
class Health:
    """What a probe found. ``probed`` is the path that answered, with this HTTP ``status``."""

    is_up: bool
    probed: str
    status: int


class BrokerClient:
    """Speaks to one node. Safe for many calls at once; the transport is shared and not owned."""

    def __init__(
        self, profile: NodeProfile, transport: NodeTransport, *, connect_s: float = CONNECT_S
    ) -> None:
        self.profile = profile
        self._transport = transport
        self._connect_s = connect_s
        self._url = profile.url.rstrip("/")
        self._origin = origin_of(self._url)

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
            url = f"{url}?{_encoded(tuple(call.query.items()))}"
        try:
            reply = await ask()
        except NodeLostError:
            if not (honours_idempotency and call.idempotency_key and loop.time() < deadline):
                raise
            reply = await ask()
        key = call.idempotency_key
        echoes = key is not None and reply.headers.get(IDEMPOTENCY_KEY) == key
        reply = await self._settled(reply, call, until)
        return await read_offers(reply.body, call.known_kinds, echoes_idempotency_key=echoes)

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

    async def read_explanation(
        self, offerset: UUID, call: CallContext, *, deadline: float
    ) -> Document:
        """Why an offer set of this node, which is a gateway, is as it is.

        ``deadline`` is told to it too, for the gateways below it.

        Raises
        ------
        NodeError
            There is no usable answer.
        """
        headers = self._headers(call, has_body=False)
        left_s = max(0.0, deadline - asyncio.get_running_loop().time())
        headers[FEDERATION_BUDGET_MS] = str(int(left_s * 1000))
        reply = await self._transport.exchange(
            "GET",
            f"{self._url}/offersets/{offerset}/explanation",
            headers,
            timeouts=Timeouts(deadline, self._connect_s),
        )
        if reply.status != 200:
            raise NodeStatusError(reply.status, problem_of(reply))
        try:
            found = from_json(reply.body)
        except (ValueError, RecursionError) as error:
            raise NodeGarbageError(str(error)) from error
        if not isinstance(found, dict):
            raise NodeGarbageError("the answer is no explanation")
        return found

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
        # A gateway that is asked strictly tells "not sure yet" from "no"; others ignore it. Whether
        # something ends is seen by the session alone, so there a refusal would say less.
        prefer = "handling=strict" if phase is SessionPhase.ACCEPTED else None
        update = _phase_update(phase)
        reply = await self._send("POST", f"/sessions/{uuid}", call, update, deadline, prefer)
        return await self._session(reply, uuid, call, deadline)

    async def end(
        self, uuid: UUID, phase: SessionPhase, call: CallContext, *, deadline: float
    ) -> SessionPhase:
        """Ask for REJECTED or CANCELLED; the phase that the session then shows.

        Nothing else of the answer is looked at: it is passed on to nobody.

        Raises
        ------
        NodeSessionUnknownError
            The node has no such session.
        NodeError
            There is no usable answer: the change may or may not have been made.
        """
        update = _phase_update(phase)
        reply = await self._send("POST", f"/sessions/{uuid}", call, update, deadline)
        if reply.status == 404:
            raise NodeSessionUnknownError(str(uuid))
        reply = await self._settled(reply, call, deadline)
        try:
            shown = decode_phase(reply.body)
        except InvalidDocumentError as error:
            raise NodeGarbageError(str(error)) from error
        if shown.uuid != uuid:
            raise NodeGarbageError(_ANOTHER_SESSION)
        return shown.phase

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
                body = await collected(reply, MAX_PROBLEM_BYTES)
                problem = problem_of(Reply(reply.status, reply.headers, body))
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
            return Health(reply.status == 200, "/readyz", reply.status)
        reply = await self._send("GET", "/actuator/health", call, None, deadline)
        return Health(reply.status == 200, "/actuator/health", reply.status)

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
        if call.root is not None:
            headers[FEDERATION_REQUEST] = str(call.root)
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
            raise NodeGarbageError(_ANOTHER_SESSION)
        return SessionReply(reply.body, view)

    async def _settled(self, reply: Reply, call: CallContext, until: float) -> Reply:
        """The reply that carries the document: a redirect without one is followed to this node."""
        if reply.status == 303 and not looks_like_object(reply.body):
            location = urljoin(self._url + "/", reply.headers.get("Location", ""))
            if not reply.headers.get("Location") or origin_of(location) != self._origin:
                detail = "it redirects elsewhere, without the document"
                raise NodeGarbageError(detail)
            reply = await self._transport.exchange(
                "GET",
                location,
                self._headers(call, has_body=False),
                timeouts=Timeouts(until, self._connect_s),
            )
            if reply.status != 200:
                raise NodeStatusError(reply.status, problem_of(reply), has_acted=True)
        if reply.status not in {200, 303}:
            raise NodeStatusError(
                reply.status, problem_of(reply), retry_after_s=retry_after_s(reply.headers)
            )
        content_type = media_type_of(reply)
        if content_type and not is_json(content_type):
            detail = f"the answer is not JSON but {content_type[:64]}"
            raise NodeGarbageError(detail)
        return reply


@lru_cache(len(SessionPhase))
def _phase_update(phase: SessionPhase) -> bytes:
    return to_json({"kind": ENUM_UPDATE, "path": "phase", "value": phase.value})


@lru_cache(64)
def _encoded(query: tuple[tuple[str, str], ...]) -> str:
    """The query string; every node of a request is asked with the same."""
    return urlencode(query)
