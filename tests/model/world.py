"""The world of the model: clients, two gateways on one store, nodes, and what is under way."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar
from uuid import UUID

from gateway.clients.exchange import NodeError, Reply
from gateway.errors import StoreUnavailableError
from gateway.services.idempotency import GONE_S
from tests.model.gateways import COMMANDS, SESSIONS, Parts, SimGateway
from tests.model.loop import Owner, SimLoop
from tests.model.network import Message, SimTransport
from tests.model.nodes import START_S, SimNode
from tests.model.store import GatewayDatabase, SharedStore, Turn
from tests.model.survey import survey_of
from tests.model.trace import STORE, Trace

GATEWAYS: Final = ("g0", "g1")
"""Two replicas on one store."""

AWAY_S: Final = SESSIONS.follow_s + SESSIONS.resubmit_after_s + COMMANDS.lease_s + 10.0
"""How long a node stays lost: it is looked for twice, others are asked, who does so may die."""

T = TypeVar("T")


class GatewayDiedError(Exception):
    """The gateway was killed over a call: its client knows nothing."""


@dataclass(eq=False, slots=True)
class Waiting:
    """A coroutine that goes on when it is let: a transaction's turn, or a client's beginning."""

    label: str
    owner: Owner | None
    future: asyncio.Future[Turn]


class World:
    """Everything there is in one schedule.

    ``failures`` is what may never happen and did; ``survey`` what the store says. Where it
    ``is_watched`` both gateways run from the beginning, and hear how long a node is silent.
    """

    def __init__(
        self, store: SharedStore, nodes: list[SimNode], parts: Parts, *, is_watched: bool = False
    ) -> None:
        self.store = store
        self.loop = SimLoop(START_S)  # type: ignore[abstract]  # what nobody here asks of a loop
        self.trace = Trace()
        self.nodes = {node.name: node for node in nodes}
        self.waiting: dict[str, Waiting] = {}
        self.messages: dict[str, Message] = {}
        self.clients: dict[str, asyncio.Task[None]] = {}
        self.failures: list[str] = []
        self.asleep: dict[str, float] = {}
        """Clients that come back later, and when."""
        self.forgot: set[str] = set()
        """Nodes that have lost their memory: what ran there runs no more."""
        self.survey = survey_of(store)
        self._is_stale = False
        self._has_touched: set[str] = set()
        self._parts = parts
        self._counts: Counter[str] = Counter()
        self._calls: list[tuple[Owner, asyncio.Future[Any]]] = []
        self._sent: list[Message] = []
        self.lost: dict[str, float] = {n.name: START_S + AWAY_S for n in nodes if n.is_lost}
        """Nodes that nobody reaches, and when each is back at the latest."""
        self.gateways: dict[str, SimGateway] = {}
        """Those that have had something to do; a replica without is as good as not started."""
        self.has_changed = True
        """Whether the last event has changed the store or a node."""
        if is_watched:
            self.gateways = {name: self._new_gateway(name) for name in GATEWAYS}

    def gateway(self, name: str) -> SimGateway:
        """A gateway that runs, started if need be."""
        if name not in self.gateways:
            self.gateways[name] = self._new_gateway(name)
        return self.gateways[name]

    def has_begun(self, name: str, duty: str) -> bool:
        """Whether a gateway is at a duty just now."""
        return name in self.gateways and duty in self.gateways[name].busy

    def _new_gateway(self, name: str) -> SimGateway:
        owner = Owner(name)

        async def take_turn(what: str) -> Turn:
            return await self._wait(f"{_task_name()} {what}", owner)

        def note(has_changed: bool) -> None:
            if has_changed:
                self.trace.changes(STORE)
                self._is_stale = True
            else:
                self.trace.looks_at(STORE)

        def send(message: Message) -> None:
            self.messages[message.label] = message
            self._sent.append(message)

        database = GatewayDatabase(self.store, owner, take_turn, note)

        def mint() -> UUID:
            self._counts[name] += 1
            kind = 0x10 * (1 + GATEWAYS.index(name))
            return UUID(bytes=bytes([kind, self._counts[name]]).ljust(16, b"\0"))

        transport = SimTransport(self.loop, owner, send, lambda: self._numbered(_task_name()))
        nodes = list(self.nodes.values())
        return SimGateway(owner, self.loop, database, transport, nodes, self._parts, mint)

    def crash(self, name: str) -> None:
        """Kill a gateway with everything it was at; it is started again when there is a call.

        What it had sent may arrive all the same.
        """
        owner = self.gateways[name].owner
        self.trace.changes(name)
        self.loop.kill(owner)
        self.waiting = {k: v for k, v in self.waiting.items() if v.owner is not owner}
        for message in list(self.messages.values()):
            if message.owner is owner:
                self.trace.follows(message.cause)
                self._sent.append(message)
                if message.reply is not None:
                    del self.messages[message.label]
        del self.gateways[name]
        for call_owner, answer in self._calls:
            if call_owner is owner and not answer.done():
                answer.set_exception(GatewayDiedError())

    def start_duty(self, name: str, duty: str) -> None:
        """Have a gateway do what is due."""
        gateway = self.gateway(name)
        self.trace.changes(name)
        self.trace.looks_at(STORE)
        label = self._numbered(f"{duty}@{name}")
        task = self.loop.start(gateway.duties[duty](), name=label, owner=gateway.owner)
        gateway.busy[duty] = task

        def ended(done: asyncio.Task[Any]) -> None:
            del gateway.busy[duty]
            self._look_at(done, label)

        task.add_done_callback(ended)

    def _look_at(self, done: asyncio.Task[Any], label: str) -> None:
        """A duty that fails is logged and begun again; with the store away that is right."""
        error = done.exception()
        for one in error.exceptions if isinstance(error, ExceptionGroup) else [error]:
            if one is not None and not isinstance(one, StoreUnavailableError):
                self.failures.append(f"{label} failed: {one!r}")

    # -- clients --------------------------------------------------------------------------------

    def add_client(self, name: str, script: Callable[[], Awaitable[None]]) -> None:
        """Somebody who begins when the explorer lets them."""

        async def run() -> None:
            await self._wait(f"{name} begins", None)
            await script()

        self.clients[name] = self.loop.start(run(), name=name, owner=None)

    async def later(self, after_s: float) -> None:
        """Have a client do nothing for so long."""
        name = _task_name()
        self.asleep[name] = self.loop.now_s + after_s
        await asyncio.sleep(after_s)
        del self.asleep[name]

    async def call(self, name: str, work: Callable[[SimGateway], Coroutine[Any, Any, T]]) -> T:
        """Have a gateway do something for a client, and wait for its answer.

        Raises
        ------
        GatewayDiedError
            It was killed over it.
        """
        gateway, client = self.gateway(name), _task_name()
        self.trace.changes(name)
        self.trace.changes(client)
        answer: asyncio.Future[T] = self.loop.create_future()
        self._calls.append((gateway.owner, answer))
        label = self._numbered(f"{client}.{name}")
        task = self.loop.start(work(gateway), name=label, owner=gateway.owner)

        def ended(done: asyncio.Task[T]) -> None:
            self.trace.changes(client)
            error = done.exception()
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(done.result())

        task.add_done_callback(ended)
        return await answer

    # -- events ---------------------------------------------------------------------------------

    def begin(self, label: str) -> None:
        """An event takes place; ``end`` follows."""
        self.has_changed = False
        for message in self.messages.values():
            message.was_late = message.is_late
        self.trace.begin(label)
        self._sent = []

    def end(self, *, is_barrier: bool = False) -> None:
        """Let everything run that the event has set going."""
        self.loop.run()
        if self.store.is_open_to is not None:
            self.failures.append(f"{self.store.is_open_to} waits inside a transaction")
        self._has_touched = set() if is_barrier else self.trace.changed
        event = self.trace.end(is_barrier=is_barrier)
        for message in self._sent:
            message.cause = event
        if self.loop.failures:
            self.failures += self.loop.failures
            self.loop.failures.clear()
        if self._is_stale:
            self._is_stale = False
            self.has_changed = True
            self.survey = survey_of(self.store)
        for message in list(self.messages.values()):
            if message.reply is not None and message.is_late:
                del self.messages[message.label]

    def is_new_for(self, name: str) -> bool:
        """Whether the last event may have made a difference to a gateway or node.

        Where it has not, what befalls the gateway or node now might as well have done so before.
        """
        return not self._has_touched or name in self._has_touched

    @property
    def is_idle(self) -> bool:
        """Whether nobody is at anything, but for clients that have not begun and late messages."""
        return (
            all(one.owner is None for one in self.waiting.values())
            and all(message.is_late for message in self.messages.values())
            and not any(gateway.busy for gateway in self.gateways.values())
            and all(task.done() for g in self.gateways.values() for task in g.owner.tasks)
        )

    async def _wait(self, label: str, owner: Owner | None) -> Turn:
        future: asyncio.Future[Turn] = self.loop.create_future()
        self.waiting[label] = waiting = Waiting(label, owner, future)
        try:
            return await future
        finally:
            if self.waiting.get(label) is waiting:  # it was cancelled
                del self.waiting[label]

    def let_go_on(self, waiting: Waiting, turn: Turn) -> None:
        """Let a coroutine go on."""
        del self.waiting[waiting.label]
        self.trace.changes(waiting.owner.name if waiting.owner else activity_of(waiting.label))
        waiting.future.set_result(turn)

    def pass_time(self, until_s: float) -> None:
        """Let it be later, with every timer on the way going off."""
        self.loop.advance(until_s)

    def forget(self, node: str) -> None:
        """A node is started anew and knows nothing."""
        self.trace.changes(node)
        self.has_changed = True
        self.forgot.add(node)
        self.nodes[node].forget()

    def vanish(self, node: str) -> None:
        """Nobody reaches a node any more, for longer than is waited for it."""
        self.trace.changes(node)
        self.nodes[node].is_lost = True
        self.lost[node] = self.loop.now_s + AWAY_S

    def come_back(self, node: str) -> None:
        """A node is there again, with all that it had."""
        self.trace.changes(node)
        self.has_changed = True
        self.nodes[node].is_lost = False
        del self.lost[node]

    # -- the network ----------------------------------------------------------------------------

    def arrive(self, message: Message) -> None:
        """A request comes to its node, which carries it out and answers whoever still waits."""
        self._move(message, message.node)
        self.has_changed = True
        node = self.nodes[message.node]
        reply = node.answer(
            message.method, message.path, message.body, self.loop.now_s, message.key
        )
        if message.is_late:
            del self.messages[message.label]
        else:
            message.reply = reply

    def arrive_twice(self, message: Message) -> None:
        """As ``arrive``, and the same request is still under way."""
        copy = message.copy()
        self.arrive(message)
        self.messages[copy.label] = copy
        self._sent.append(copy)

    def turn_away(self, message: Message) -> None:
        """A request comes to a node that has no time for it."""
        self._move(message, message.node)
        message.reply = Reply(503, {}, b"")

    def deliver(self, message: Message) -> None:
        """A reply comes to the gateway that waits for it."""
        assert message.reply is not None, "it has been answered"
        self._move(message, message.owner.name)
        del self.messages[message.label]
        message.answered.set_result(message.reply)

    def fail(self, message: Message, error: Callable[[], NodeError]) -> None:
        """A gateway learns that there will be no reply."""
        self._move(message, message.owner.name)
        self.trace.looks_at(message.node)
        del self.messages[message.label]
        message.answered.set_exception(error())

    def _move(self, message: Message, at: str) -> None:
        self.trace.follows(message.cause)
        self.trace.changes(at)
        self._sent.append(message)

    # -- what falls due -------------------------------------------------------------------------

    def overdue(self) -> list[str]:
        """The duties that there is something to do for."""
        now_s = self.loop.now_s
        return [duty for duty, at in self._agenda() if at is not None and at <= now_s]

    @property
    def done_without(self) -> set[str]:
        """The lost nodes of which it is settled what becomes of their sessions."""
        survey = self.survey
        awaited = {move.session for move in survey.moves if move.due_s is not None}
        return set(self.lost) - {one.node for one in survey.sessions if one.uuid in awaited}

    def next_due_s(self) -> float | None:
        """When something happens by itself, if everybody waits."""
        now_s = self.loop.now_s
        times = [self.loop.next_timer(), *self.lost.values(), *(at for _, at in self._agenda())]
        return min((at for at in times if at is not None and at > now_s), default=None)

    def stalls_s(self) -> list[float]:
        """Moments that change what may be done, for somebody who is slow to pass."""
        now_s, survey = self.loop.now_s, self.survey
        times = {survey.command_s, survey.expiry_s, survey.resubmit_s}
        if survey.is_being_asked and sum(not answer.done() for _, answer in self._calls) > 1:
            times.add(now_s + GONE_S)
        return sorted(at for at in times if at is not None and at > now_s)

    def _agenda(self) -> tuple[tuple[str, float | None], ...]:
        survey = self.survey
        return (
            ("outbox", survey.command_s),
            ("unkept", survey.unkept_s),
            ("expire", survey.expiry_s),
            ("follow", survey.follow_s(self.nodes)),
            ("resubmit", survey.resubmit_s),
        )

    def close(self) -> None:
        """End everything without running any of it."""
        for gateway in self.gateways.values():
            self.loop.kill(gateway.owner)
        clients = Owner("clients")
        clients.tasks = list(self.clients.values())
        self.loop.kill(clients)

    def _numbered(self, label: str) -> str:
        self._counts[label] += 1
        return f"{label}#{self._counts[label]}"


@lru_cache(4096)
def activity_of(label: str) -> str:
    """Whose doing it is: a client's, or a duty's of one gateway."""
    return label.partition(" ")[0].partition(".")[0].partition("#")[0]


def _task_name() -> str:
    task = asyncio.current_task()
    assert task is not None, "only tasks call this"
    return task.get_name()
