"""What can happen next in a world, the ordinary first; what is out of the ordinary costs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final

from gateway.clients.exchange import NodeLostError, NodeUnreachableError, Stage
from gateway.domain.reasons import ReasonCode
from tests.model.network import Message
from tests.model.store import Turn
from tests.model.world import GATEWAYS, Waiting, World, activity_of


class Fault(StrEnum):
    """What may go wrong in a scenario. Each costs one, like a change of who goes on next."""

    CRASH = "crash"
    LOSE = "lose"
    REFUSE = "refuse"
    BUSY = "busy"
    DELAY = "delay"
    COPY = "copy"
    STORE = "store"
    STALL = "stall"
    FORGET = "forget"
    VANISH = "vanish"


NETWORK: Final = frozenset({Fault.LOSE, Fault.REFUSE, Fault.BUSY, Fault.DELAY, Fault.COPY})
"""What a network and an overloaded node do to one exchange."""


_NO_CONNECTION: Final = partial(NodeUnreachableError, ReasonCode.CONNECTION_REFUSED)


@dataclass(frozen=True, slots=True)
class Move:
    """One thing that can happen next. ``activity`` is whose doing it is, if somebody's."""

    text: str
    cost: int
    act: Callable[[], None]
    activity: str = ""
    is_barrier: bool = False


class Moves:
    """Gives the moves that a world has, and makes one.

    The first is what happens when nothing goes wrong and nobody interrupts: whoever went last goes
    on, then other clients, then duties that are due; then another client begins, and when all is
    quiet the time passes. The other moves follow in the order of their cost.
    """

    def __init__(self, world: World, faults: frozenset[Fault]) -> None:
        self._world = world
        self._faults = faults
        self.last = ""
        """Who went last."""

    def make(self, move: Move) -> None:
        """Let it happen, and everything that follows from it without waiting."""
        world = self._world
        world.begin(move.text)
        move.act()
        world.end(is_barrier=move.is_barrier)
        self.last = move.activity or self.last

    def now(self, spare: int) -> list[Move]:
        """What can happen now and costs ``spare`` at most; nothing when all is over.

        The list is the beginning of the one for more to spare.
        """
        under_way = self._sorted_under_way()
        first = next(self._ordinary(under_way), None)
        if first is None:
            return []
        moves = [first]
        if self._world.messages:
            moves += sorted(self._late_ones(), key=lambda move: move.text)
        if spare:
            others = [
                *(m for m in self._ordinary(under_way) if m.text != first.text),
                *self._faults_of(under_way),
                *self._interruptions(is_busy=bool(under_way)),
            ]
            others.sort(key=lambda move: move.cost)
            moves += [move for move in others if move.cost <= spare]
        return moves

    # -- the ordinary ---------------------------------------------------------------------------

    def _sorted_under_way(self) -> list[Waiting | Message]:
        """What can go on: first whose turn it was, then clients', then duties'."""
        world = self._world
        ranked: list[tuple[bool, bool, str, Waiting | Message]] = []
        for label, waiting in world.waiting.items():
            ranked.append((*self._rank(label), label, waiting))
        for label, message in world.messages.items():
            if not message.is_late:
                ranked.append((*self._rank(label), label, message))
        ranked.sort(key=lambda entry: entry[:3])
        return [entry[3] for entry in ranked]

    def _rank(self, label: str) -> tuple[bool, bool]:
        activity = activity_of(label)
        return activity != self.last, "@" in activity

    def _ordinary(self, under_way: Sequence[Waiting | Message]) -> Iterator[Move]:
        """What can go on or begin without any fault; all but the first interrupt that."""
        cost = 0
        beginning = [one for one in under_way if isinstance(one, Waiting) and one.owner is None]
        for one in under_way:
            if one not in beginning:
                yield self._going_on(one, cost)
                cost = 1
        for node in self._back():
            yield Move(f"{node} is back", cost, partial(self._world.come_back, node))
            cost = 1
        for duty in self._world.overdue():
            for name in GATEWAYS:
                if not self._world.has_begun(name, duty):
                    act = partial(self._world.start_duty, name, duty)
                    yield Move(f"{duty}@{name} begins", cost, act, f"{duty}@{name}")
                    cost = 1
        for one in beginning:
            yield self._going_on(one, cost)
            cost = 1
        if cost:
            return
        if self._world.done_without:
            node = min(self._world.done_without)
            yield Move(f"{node} is back", 0, partial(self._world.come_back, node))
        elif (at_s := self._world.next_due_s()) is not None:
            yield self._jump(at_s, 0, "time passes")

    def _back(self) -> list[str]:
        now_s = self._world.loop.now_s
        return [node for node, back_s in self._world.lost.items() if back_s <= now_s]

    def _going_on(self, one: Waiting | Message, cost: int) -> Move:
        world, activity = self._world, activity_of(one.label)
        if isinstance(one, Waiting):
            return Move(one.label, cost, partial(world.let_go_on, one, Turn.RUNS), activity)
        if one.reply is None and one.node in world.lost:
            act = partial(world.fail, one, _NO_CONNECTION)
            return Move(f"{one.text} finds no connection", cost, act, activity)
        if one.reply is None:
            return Move(f"{one.text} arrives", cost, partial(world.arrive, one), activity)
        return Move(f"reply to {one.text} arrives", cost, partial(world.deliver, one), activity)

    def _late_ones(self) -> Iterator[Move]:
        """What nobody waits for may arrive at any time; that was paid for when it came to be."""
        for message in self._world.messages.values():
            is_new = not message.was_late or self._world.is_new_for(message.node)
            if message.is_late and is_new and message.node not in self._world.lost:
                act = partial(self._world.arrive, message)
                yield Move(f"late {message.text} arrives", 0, act)

    # -- what goes wrong ------------------------------------------------------------------------

    def _faults_of(self, under_way: Iterable[Waiting | Message]) -> Iterator[Move]:
        cost = 1
        for one in under_way:
            activity = activity_of(one.label)
            ways = self._of_turn(one) if isinstance(one, Waiting) else self._of_message(one)
            for fault, text, act in ways:
                if fault in self._faults:
                    yield Move(text, cost, act, activity)
            cost = 2  # it is not this one's turn either

    def _of_turn(self, one: Waiting) -> Iterator[tuple[Fault, str, Callable[[], None]]]:
        if one.owner is None:
            return
        for turn in (Turn.FAILS, Turn.SEEMS_TO_FAIL):
            if turn is Turn.FAILS or one.label.endswith(" writes"):
                act = partial(self._world.let_go_on, one, turn)
                yield Fault.STORE, f"{one.label}: {turn.value}", act

    def _of_message(self, one: Message) -> Iterator[tuple[Fault, str, Callable[[], None]]]:
        world = self._world
        if one.reply is not None:
            lost = partial(world.fail, one, partial(NodeLostError, Stage.BODY))
            yield Fault.LOSE, f"reply to {one.text} is lost", lost
            return
        if one.node in world.lost:
            return
        lost = partial(world.fail, one, partial(NodeLostError, Stage.HEADERS))
        refused = partial(world.fail, one, _NO_CONNECTION)
        yield Fault.LOSE, f"{one.text} is lost", lost
        yield Fault.REFUSE, f"{one.text} finds no connection", refused
        yield Fault.BUSY, f"{one.text} is answered 503", partial(world.turn_away, one)
        yield Fault.COPY, f"{one.text} arrives and is copied", partial(world.arrive_twice, one)

    def _interruptions(self, *, is_busy: bool) -> Iterator[Move]:
        world, faults = self._world, self._faults
        if Fault.CRASH in faults:
            for name, gateway in sorted(world.gateways.items()):
                if world.is_new_for(name) and not all(task.done() for task in gateway.owner.tasks):
                    yield Move(f"{name} is killed", 1, partial(world.crash, name))
        if is_busy:
            now_s = world.loop.now_s
            waited = [
                m.until_s for m in world.messages.values() if not m.is_late and m.until_s > now_s
            ]
            if waited and Fault.DELAY in faults:
                yield self._jump(min(waited), 1, "nobody answers in time")
            if Fault.STALL in faults:
                for at_s in world.stalls_s():
                    yield self._jump(at_s, 1, "everybody stalls")
        if Fault.FORGET in faults:
            for node in world.nodes.values():
                if node.sessions and world.is_new_for(node.name):
                    yield Move(f"{node.name} forgets", 1, partial(world.forget, node.name))
        yield from self._comings_and_goings()

    def _comings_and_goings(self) -> Iterator[Move]:
        """Of nodes that are about to be spoken to; at no other time does it make a difference."""
        world = self._world
        spoken_to = {m.node for m in world.messages.values() if m.reply is None and not m.is_late}
        for name in sorted(spoken_to):
            if name in self._back():
                continue
            if name in world.lost:
                yield Move(f"{name} is back", 1, partial(world.come_back, name))
            elif Fault.VANISH in self._faults:
                yield Move(f"{name} is lost", 1, partial(world.vanish, name))

    def _jump(self, until_s: float, cost: int, text: str) -> Move:
        passed_s = until_s - self._world.loop.now_s
        act = partial(self._world.pass_time, until_s)
        return Move(f"{text}, {passed_s:g} s", cost, act, is_barrier=True)
