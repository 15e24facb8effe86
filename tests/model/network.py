"""The simulated network: requests and replies that are under way until the explorer decides."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final

from gateway.clients.exchange import (
    NodeTimeoutError,
    Progress,
    Reply,
    ReplyStream,
    Stage,
    StreamTimeouts,
    Timeouts,
)
from gateway.wire.documents import from_json
from gateway.wire.headers import FEDERATION_BUDGET_MS, IDEMPOTENCY_KEY
from tests.model.loop import Owner
from tests.model.store import DeadOwnerError

NODE_SCHEME: Final = "http://"
"""Node ``n1`` is found at ``http://n1``."""


@dataclass(eq=False, slots=True)
class Message:
    """One exchange under way. ``reply`` is None until its node has answered.

    Whoever sent it waits until ``until_s`` at least; ``key`` is the idempotency key of it. It is
    late once nobody waits for it any more: its sender gave up, or died. ``cause`` is the event
    that it was last moved by; ``was_late`` that it was late before that event.
    """

    label: str
    owner: Owner
    node: str
    method: str
    path: str
    body: bytes | None
    until_s: float
    answered: asyncio.Future[Reply]
    key: str | None = None
    reply: Reply | None = None
    is_copy: bool = False
    cause: int = 0
    was_late: bool = False
    text: str = field(init=False)
    """What it asks of whom, as it is shown."""

    def __post_init__(self) -> None:
        if self.path.startswith("/requests"):
            what = "request"
        else:
            wanted = from_json(self.body)["value"] if self.body else self.method
            what = f"{wanted} {self.path[10:12]}"
        self.text = f"{what} to {self.node} ({self.label})"

    def state(self) -> tuple[str, ...]:
        """What it comes to when it arrives late."""
        return (self.node, self.method, self.path, str(self.body), self.key or "")

    @property
    def is_late(self) -> bool:
        return self.is_copy or self.owner.is_dead or self.answered.done()

    def copy(self) -> "Message":
        """The same once more, as a network makes it, for nobody who waits."""
        return Message(
            f"{self.label} (copy)",
            self.owner,
            self.node,
            self.method,
            self.path,
            self.body,
            self.until_s,
            self.answered,
            self.key,
            is_copy=True,
            cause=self.cause,
        )


class SimTransport:
    """A gateway's ``NodeTransport``. ``send`` takes each request on its way."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        owner: Owner,
        send: Callable[[Message], None],
        label: Callable[[], str],
    ) -> None:
        self._loop = loop
        self._owner = owner
        self._send = send
        self._label = label

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        timeouts: Timeouts,
        progress: Progress | None = None,
    ) -> Reply:
        """Send one request, and wait for its answer as long as there is time."""
        if self._owner.is_dead:
            raise DeadOwnerError
        now_s = self._loop.time()
        if timeouts.until <= now_s:
            raise NodeTimeoutError(Stage.CONNECT)
        if progress is not None:
            progress.stage, progress.may_have_acted = Stage.HEADERS, True
        # Answers that are no longer waited for are read on for a while, and come when they come.
        budget_ms = headers.get(FEDERATION_BUDGET_MS)
        until_s = timeouts.until if budget_ms is None else now_s + int(budget_ms) / 1000
        node, _, path = url.removeprefix(NODE_SCHEME).partition("/")
        answered: asyncio.Future[Reply] = self._loop.create_future()
        self._send(
            Message(
                self._label(),
                self._owner,
                node,
                method,
                f"/{path}",
                body,
                until_s,
                answered,
                headers.get(IDEMPOTENCY_KEY),
            )
        )
        try:
            async with asyncio.timeout_at(timeouts.until):
                return await answered
        except TimeoutError as error:
            raise NodeTimeoutError(Stage.HEADERS) from error

    def open_stream(
        self, method: str, url: str, headers: Mapping[str, str], *, timeouts: StreamTimeouts
    ) -> AbstractAsyncContextManager[ReplyStream]:
        """Nothing in the accept protocol comes as a stream."""
        raise NotImplementedError
