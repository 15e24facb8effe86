"""An asynchronous client for any broker that speaks the ExecutionBroker API, gateway or node."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import UUID, uuid4

from yarl import URL

from gateway.cli.connection import Answer, Connection, query_of
from gateway.cli.errors import (
    BrokerProblemError,
    UnreadableAnswerError,
    UpdateRefusedError,
)
from gateway.cli.tokens import TokenSource
from gateway.cli.transfers import Patience, fetch_file, follow_log
from gateway.cli.watching import Polling, watch_session
from gateway.wire.documents import Document
from gateway.wire.headers import IDEMPOTENCY_KEY, PREFER
from gateway.wire.kinds import ENUM_UPDATE
from gateway.wire.outputs import STDOUT, file_url, stream_url
from gateway.wire.phases import EXECUTION_PHASES, SessionPhase

_ACHIEVED: Final[Mapping[SessionPhase, frozenset[str]]] = {
    SessionPhase.ACCEPTED: frozenset(
        {*EXECUTION_PHASES, SessionPhase.COMPLETED, SessionPhase.FAILED}
    ),
    SessionPhase.REJECTED: frozenset({SessionPhase.REJECTED}),
    SessionPhase.CANCELLED: frozenset({SessionPhase.CANCELLED, SessionPhase.RELEASING}),
}
"""The phases in a reply that show that the wish came true: status 200 alone says nothing, since
brokers may answer a refused update with the unchanged session."""


class ExecutionBrokerClient:
    """One broker, one account. Used as ``async with``; the connections live as long as the block.

    ``token`` gives the bearer token of the moment, and is called for every exchange; it goes before
    ``username``. Without either nothing is sent to prove who asks, which is enough for public
    reads.
    ``timeout_s`` bounds every single call, answer included.

    Raises
    ------
    ValueError
        ``url`` is no http(s) URL, or holds a password: those belong in ``password``.

    Every method raises `BrokerUnavailableError` when there is no answer, `BrokerProblemError` when
    the answer is a refusal, and `UnreadableAnswerError` when it makes no sense.
    """

    def __init__(
        self,
        url: str,
        username: str | None = None,
        password: str | None = None,
        *,
        token: TokenSource | None = None,
        timeout_s: float = 30.0,
        connect_s: float = 5.0,
        polling: Polling | None = None,
    ) -> None:
        self._connection = Connection(
            url, username, password, token=token, timeout_s=timeout_s, connect_s=connect_s
        )
        self.url = self._connection.url
        self._polling = polling or Polling()

    async def __aenter__(self) -> Self:
        await self._connection.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._connection.close()

    async def request_offers(
        self,
        document: Document,
        *,
        limit: int | None = None,
        per_node: int | None = None,
        policy: str | None = None,
        nodes: Sequence[str] = (),
        min_offers: int | None = None,
        require: Sequence[str] = (),
        wait_s: float | None = None,
        idempotency_key: str | None = None,
    ) -> Document:
        """The offer set for an ExecutionRequest; ``result`` NO is an answer, not an error.

        A key is made for each call unless one is given, so that a call whose connection is lost can
        be sent once more without holding resources twice. ``wait_s`` replaces the gateway's own
        deadline for its nodes.
        """
        query = query_of(
            limit=limit,
            per_node=per_node,
            policy=policy,
            nodes=nodes,
            min_offers=min_offers,
            require=require,
        )
        return await self._submit("requests", document, query, wait_s, idempotency_key)

    async def submit_draft(
        self,
        uuid: UUID,
        *,
        wait_s: float | None = None,
        idempotency_key: str | None = None,
        **options: int | str | Sequence[str] | None,
    ) -> Document:
        """The offer set for a draft; the options are those of `request_offers`."""
        path = f"drafts/{uuid}/submit"
        return await self._submit(path, None, query_of(**options), wait_s, idempotency_key)

    async def exchange(
        self,
        method: str,
        path: str,
        document: Document | None = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One exchange that succeeds, for what is about no session."""
        answer = await self._connection.call(
            method, path, document=document, query=query, headers=headers
        )
        if answer.status >= HTTPStatus.BAD_REQUEST:
            self._connection.document_of(answer)
        return answer

    async def direct(
        self,
        document: Document,
        *,
        policy: str | None = None,
        nodes: Sequence[str] = (),
        wait_s: float | None = None,
        idempotency_key: str | None = None,
    ) -> Document:
        """The session of a request that the broker offers and accepts in one step.

        Raises
        ------
        UpdateRefusedError
            No offer could be had; the error holds the FAILED session with its messages.
        """
        query = query_of(policy=policy, nodes=nodes)
        try:
            return await self._submit("direct", document, query, wait_s, idempotency_key)
        except BrokerProblemError as error:
            if error.problem.get("phase") == SessionPhase.FAILED:
                raise UpdateRefusedError(SessionPhase.ACCEPTED, error.problem) from error
            raise

    async def offerset(self, uuid: UUID) -> Document:
        """The offer set as it stands now, late answers included."""
        return self._connection.document_of(await self._connection.call("GET", f"offersets/{uuid}"))

    async def explanation(self, uuid: UUID) -> Document:
        """Everything that decided an offer set: who passed what, what counted how much, and why.

        A plain node broker has none and answers with a 404.
        """
        return self._connection.document_of(
            await self._connection.call("GET", f"offersets/{uuid}/explanation")
        )

    async def replay(
        self,
        uuid: UUID,
        *,
        policy: str | None = None,
        weights: Mapping[str, int] | None = None,
        references: Mapping[str, float] | None = None,
        priors: Mapping[str, float] | None = None,
        per_node: int | None = None,
        limit: int | None = None,
    ) -> Document:
        """How the offers of an offer set would be ranked otherwise; nothing changes by it.

        The policy is one by its name, or one of your own by ``weights``, to which ``references``
        (what is worth one half) and ``priors`` (what the unknown counts as) belong. What is not
        given is as it was.
        """
        asked = {
            "policy": policy,
            "weights": weights,
            "references": references,
            "priors": priors,
            "per_node": per_node,
            "limit": limit,
        }
        question: Document = {name: value for name, value in asked.items() if value is not None}
        return self._connection.document_of(
            await self._connection.call("POST", f"offersets/{uuid}/ranking", document=question)
        )

    async def session(self, uuid: UUID) -> Document:
        """The session, or the offer, as it stands now."""
        return self._connection.document_of(await self._connection.call("GET", f"sessions/{uuid}"))

    async def nodes(self) -> Sequence[Document]:
        """The nodes of a gateway; a plain node broker has no such list and answers with a 404."""
        listed = self._connection.document_of(await self._connection.call("GET", "nodes")).get(
            "nodes"
        )
        if not isinstance(listed, list):
            raise UnreadableAnswerError(self.url, "its list of nodes has no member 'nodes'")
        return [node for node in listed if isinstance(node, dict)]

    async def discover(self, what: str, **query: int | str | None) -> Document:
        """One of the lists of a gateway: ``kinds``, ``nodes``, ``data`` or ``software``."""
        return self._connection.document_of(
            await self._connection.call("GET", f"discovery/{what}", query=query_of(**query))
        )

    async def send_discovery(self, what: str, document: Document, **query: str | None) -> Document:
        """What a gateway makes of a document: ``estimate``, ``software`` or ``import``."""
        return self._connection.document_of(
            await self._connection.call(
                "POST", f"discovery/{what}", document=document, query=query_of(**query)
            )
        )

    async def add_identity(self, username: str, password: str) -> Document:
        """A new local account, made by an administrator: its ``uuid`` and ``username``."""
        identity: Document = {"username": username, "password": password}
        return self._connection.document_of(
            await self._connection.call("POST", "admin/identities", document=identity)
        )

    async def make_registration_token(self, wishes: Document) -> Document:
        """A new registration token, its secret in ``token``; administrators only."""
        return self._connection.document_of(
            await self._connection.call("POST", "admin/registration-tokens", document=wishes)
        )

    async def change_node(self, name: str, patch: Document) -> Document:
        """The node after a merge patch; administrators only."""
        return self._connection.document_of(
            await self._connection.call("PATCH", f"nodes/{name}", document=patch)
        )

    async def remove_node(self, name: str, *, forget: bool = False) -> None:
        """End the registration of a node, with ``forget`` for good; administrators only."""
        query = {"forget": "true"} if forget else {}
        answer = await self._connection.call("DELETE", f"nodes/{name}", query=query)
        if answer.status != HTTPStatus.NO_CONTENT:
            self._connection.document_of(answer)

    async def audit(self, query: Mapping[str, str]) -> Document:
        """A page of the audit trail: ``entries``, newest first, and ``next``; administrators only.

        ``query`` are the filters, ``limit``, and as ``cursor`` the ``next`` of the page before.
        """
        return self._connection.document_of(
            await self._connection.call("GET", "admin/audit", query=query)
        )

    async def accept(self, uuid: UUID) -> Document:
        """Takes an offer; its siblings are let go. Accepting twice is the same as once.

        Raises
        ------
        UpdateRefusedError
            The broker answered, and the session's phase shows that it was not accepted.
        """
        return await self._update(uuid, SessionPhase.ACCEPTED)

    async def reject(self, uuid: UUID) -> Document:
        """Lets an offer go. Raises as `accept` does."""
        return await self._update(uuid, SessionPhase.REJECTED)

    async def cancel(self, uuid: UUID) -> Document:
        """Stops a session. Raises as `accept` does."""
        return await self._update(uuid, SessionPhase.CANCELLED)

    async def watch(
        self, uuid: UUID, *, deadline_s: float | None = None
    ) -> AsyncIterator[Document]:
        """The session again and again, the last time in a terminal phase.

        It is read when the broker's stream of events says something; where there is none, often.

        Raises
        ------
        WatchDeadlineError
            The session has not come to its end within ``deadline_s``.
        """
        documents = watch_session(
            uuid,
            partial(self.session, uuid),
            partial(self._connection.stream, f"{self.url}/sessions/{uuid}/events"),
            self._polling,
            deadline_s,
        )
        async with aclosing(documents):
            async for document in documents:
                yield document

    async def results(self, uuid: UUID) -> Document:
        """How the session ended and what came out: exit, usage, logs, files with checksums."""
        return self._connection.document_of(
            await self._connection.call("GET", f"sessions/{uuid}/results")
        )

    async def logs(
        self, uuid: UUID, stream: str = STDOUT, *, follow: bool = False
    ) -> AsyncGenerator[bytes]:
        """What the session has written so far, or with ``follow`` all it will have at its end.

        Followed, a broken connection is taken up again and every byte comes once.
        """
        url = stream_url(self.url, uuid, stream)
        if follow:
            open_ = partial(self._connection.stream, f"{url}?follow=true")
            pieces = follow_log(open_, self.url, self._patience())
        else:
            pieces = self._so_far(url)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def fetch(self, uuid: UUID, path: str, target: Path, *, sha256: str | None = None) -> int:
        """Save a file that came out as ``target``; its size in bytes.

        With its checksum, an earlier try that broke off is continued.

        Raises
        ------
        ChecksumError
            It came damaged.
        OSError
            It cannot be saved.
        """
        open_ = partial(self._connection.stream, file_url(self.url, uuid, path))
        return await fetch_file(open_, self.url, target, sha256, self._patience())

    def _patience(self) -> Patience:
        return Patience(self._polling.patience_s, self._polling.first_s)

    async def _so_far(self, url: str) -> AsyncGenerator[bytes]:
        async with self._connection.stream(url, {}) as download:
            async for piece in download.pieces:
                yield piece

    async def _submit(
        self,
        path: str,
        document: Document | None,
        query: Mapping[str, str],
        wait_s: float | None,
        idempotency_key: str | None,
    ) -> Document:
        headers = {IDEMPOTENCY_KEY: idempotency_key or str(uuid4())}
        if wait_s is not None:
            headers[PREFER] = f"wait={wait_s:g}"
        answer = await self._connection.call(
            "POST", path, document=document, query=query, headers=headers, extra_s=wait_s or 0
        )
        if answer.status == HTTPStatus.SEE_OTHER and not answer.body:
            answer = await self._follow(answer)
        return self._connection.document_of(answer)

    async def _follow(self, answer: Answer) -> Answer:
        """What the redirect points to, read from this broker whatever it calls itself."""
        location = URL(answer.headers.get("Location", ""))
        if len(location.parts) < 2:
            raise UnreadableAnswerError(self.url, "it redirects to nowhere")
        return await self._connection.call("GET", "/".join(location.parts[-2:]))

    async def _update(self, uuid: UUID, phase: SessionPhase) -> Document:
        update: Document = {"kind": ENUM_UPDATE, "path": "phase", "value": phase.value}
        headers = {PREFER: "handling=strict"}
        session = self._connection.document_of(
            await self._connection.call(
                "POST", f"sessions/{uuid}", document=update, headers=headers
            )
        )
        if session.get("phase") not in _ACHIEVED[phase]:
            raise UpdateRefusedError(phase, session)
        return session
