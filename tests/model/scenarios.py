"""What clients do in the model, and what may go wrong meanwhile.

They accept, reject, cancel and look; they ask for offers, or for execution, under one idempotency
key; and the node of what they have accepted is lost.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from gateway.stores.commands import CommandStore, Wish
from gateway.stores.database import Transaction
from gateway.stores.offersets import OfferSetRow, OfferSetStore
from gateway.stores.resubmissions import ResubmissionStore
from gateway.stores.sessions import SessionRow, SessionStore
from gateway.wire.documents import to_json
from gateway.wire.phases import SessionPhase
from tests.model import plays
from tests.model.gateways import COMMANDS, SESSIONS
from tests.model.moves import NETWORK, Fault
from tests.model.nodes import OFFERED_FOR_S, START_S, SimNode, document_of, instant
from tests.model.plays import OFFERSET, A, B, Script, question
from tests.model.promises import Ledger

AT_MOST: Final = 500
"""Distinct schedules of one scenario in the tests, at some 3 ms each."""


class Start(StrEnum):
    """What has been before a schedule begins."""

    NOTHING = "nobody has asked for anything"
    OFFERED = "two offers of one set are handed out"
    HALF_WAY = "a gateway has died over an acceptance that the node has granted"
    LOST = "A is accepted, to be executed elsewhere if need be, and its node is lost"
    LOST_UNWISHED = "A is accepted, and its node is lost"


_LOST: Final = frozenset({Start.LOST, Start.LOST_UNWISHED})


@dataclass(frozen=True, slots=True)
class Scenario:
    """Clients by name with their scripts, the nodes of the two offers, and the faults there are.

    ``start`` is what has been before. Of what goes on for longer, less has room in a minute:
    ``at_most`` are the distinct schedules that the tests play.
    """

    name: str
    scripts: dict[str, Script]
    faults: frozenset[Fault]
    nodes: Callable[[], list[SimNode]] = lambda: [SimNode("n1"), SimNode("n2")]
    held_at: tuple[str, str] = ("n1", "n2")
    start: Start = Start.OFFERED
    at_most: int = AT_MOST

    @property
    def is_watched(self) -> bool:
        """Whether it matters since when gateways listen to nodes."""
        return self.start in _LOST or Fault.VANISH in self.faults

    def ledger(self) -> Ledger:
        """What clients have asked for and been told before."""
        return Ledger(
            accepted={A: "alice"} if self.start in _LOST else {},
            wished={A} if self.start is Start.LOST else set(),
        )


_ALL: Final = NETWORK | {Fault.CRASH, Fault.STALL}
_SOME: Final = frozenset({Fault.CRASH, Fault.LOSE, Fault.DELAY, Fault.STALL})


def _odd_node(**changes: Any) -> Callable[[], list[SimNode]]:
    return lambda: [SimNode("n1", **changes), SimNode("n2")]


SCENARIOS: Final = (
    Scenario("one accept", {"alice": plays.accepts}, _ALL),
    Scenario("one accept, the store goes away", {"alice": plays.accepts}, _SOME | {Fault.STORE}),
    Scenario("one accept, nodes forget", {"alice": plays.accepts}, _SOME | {Fault.FORGET}),
    Scenario(
        "one offer accepted twice",
        {"alice": plays.accepts_once, "bob": plays.accepts_elsewhere},
        _SOME,
    ),
    Scenario("two siblings", {"alice": plays.accepts_once, "bob": plays.accepts_sibling}, _SOME),
    Scenario(
        "two siblings at one node",
        {"alice": plays.accepts_once, "bob": plays.accepts_sibling},
        _SOME | {Fault.COPY},
        held_at=("n1", "n1"),
    ),
    Scenario("accept against reject", {"alice": plays.accepts_once, "bob": plays.rejects}, _SOME),
    Scenario("left half-way, then rejected", {"bob": plays.rejects}, _SOME, start=Start.HALF_WAY),
    Scenario(
        "left half-way, sibling wanted", {"bob": plays.accepts_sibling}, _SOME, start=Start.HALF_WAY
    ),
    Scenario("accept, then the next", {"alice": plays.accepts_next}, _ALL),
    Scenario("accept, then cancel", {"alice": plays.accepts_and_cancels}, _SOME),
    Scenario("accept and look", {"alice": plays.accepts_once, "bob": plays.reads}, _SOME),
    Scenario("nobody wants any", {"alice": plays.lets_rest_go}, _SOME),
    Scenario("first that is kept", {"alice": plays.falls_through}, _SOME | {Fault.REFUSE}),
    Scenario(
        "the node has let it expire", {"alice": plays.accepts_next}, _SOME, _odd_node(ahead_s=600.0)
    ),
    Scenario("the node will not yet", {"alice": plays.accepts_next}, _ALL, _odd_node(refusals=1)),
    Scenario(
        "the node says 409",
        {"alice": plays.accepts_next},
        _SOME,
        _odd_node(ahead_s=600.0, is_strict=True),
    ),
    Scenario(
        "accept, and elsewhere if need be",
        {"alice": plays.wishes},
        _SOME | {Fault.VANISH},
        at_most=215,
    ),
    Scenario(
        "its node is lost",
        {"bob": plays.looks_after},
        frozenset({Fault.CRASH, Fault.LOSE, Fault.STALL}),
        start=Start.LOST,
        at_most=340,
    ),
    Scenario(
        "its node comes back",
        {"bob": plays.looks_later},
        frozenset(),
        start=Start.LOST,
        at_most=80,
    ),
    Scenario(
        "its node is lost, and it is ended",
        {"bob": plays.ends_later},
        _SOME,
        start=Start.LOST,
        at_most=150,
    ),
    Scenario(
        "its node is lost, and nobody wished",
        {"alice": plays.reads_at_last, "bob": plays.reads},
        _ALL | {Fault.VANISH},
        start=Start.LOST_UNWISHED,
        at_most=60,
    ),
    Scenario(
        "one key, asked twice",
        {"alice": plays.asks, "bob": plays.asks_elsewhere},
        _SOME | {Fault.COPY},
        start=Start.NOTHING,
        at_most=120,
    ),
    Scenario(
        "one key, the store goes away",
        {"alice": plays.asks},
        _SOME | {Fault.STORE},
        start=Start.NOTHING,
        at_most=120,
    ),
    Scenario(
        "one key, two requests",
        {"alice": plays.asks, "bob": plays.asks_something_else},
        _SOME,
        start=Start.NOTHING,
        at_most=120,
    ),
    Scenario(
        "one key, executed twice",
        {"alice": plays.executes, "bob": plays.executes_elsewhere},
        _SOME,
        start=Start.NOTHING,
        at_most=260,
    ),
)


def nodes_of(scenario: Scenario) -> list[SimNode]:
    """The nodes, with what they hold."""
    nodes = {node.name: node for node in scenario.nodes()}
    if scenario.start is Start.NOTHING:
        return list(nodes.values())
    for uuid, name in zip((A, B), scenario.held_at, strict=True):
        nodes[name].offer(uuid, START_S + OFFERED_FOR_S)
    if scenario.start is not Start.OFFERED:
        nodes[scenario.held_at[0]].accept(A)
    if scenario.start in _LOST:
        nodes[scenario.held_at[0]].is_lost = True
        nodes[scenario.held_at[1]].sessions[B].phase = SessionPhase.REJECTED
    return list(nodes.values())


async def seed(tx: Transaction, scenario: Scenario) -> None:
    """Write the offer set that clients have been given, if they have."""
    if scenario.start is Start.NOTHING:
        return
    now, expires_s = instant(START_S), START_S + OFFERED_FOR_S
    asked = None if scenario.start is Start.OFFERED else SessionPhase.ACCEPTED
    phases = (SessionPhase.OFFERED, SessionPhase.OFFERED)
    if scenario.start in _LOST:
        phases = (SessionPhase.ACCEPTED, SessionPhase.REJECTED)
    await OfferSetStore().add(
        tx,
        OfferSetRow(
            uuid=OFFERSET,
            owner="alice",
            created=now,
            request=to_json(question("/requests", "one").document),
            record=b'{"version":0}',
            federation=b'{"coverage":[]}',
            messages=b"[]",
        ),
    )
    rows = [
        SessionRow(
            uuid=uuid,
            offerset=OFFERSET,
            node=node,
            owner="alice",
            position=position,
            phase=phase,
            asked=asked if uuid == A else None,
            expires=instant(expires_s),
            document=document_of(uuid, phase, expires_s),
            federation=b"{}",
            observed=now,
            changed=now,
        )
        for position, (uuid, node, phase) in enumerate(
            zip((A, B), scenario.held_at, phases, strict=True), 1
        )
    ]
    await SessionStore().add(tx, rows)
    if scenario.start is Start.LOST:
        due = now + timedelta(seconds=SESSIONS.follow_s)
        await ResubmissionStore().wish(tx, A, generation=0, due=due, now=now)
    if scenario.start is Start.HALF_WAY:
        wish = Wish(
            session=A,
            node=scenario.held_at[0],
            phase=SessionPhase.ACCEPTED,
            created=now,
            due=now,
            give_up=now + timedelta(seconds=COMMANDS.give_up_s),
        )
        await CommandStore().put(tx, [wish])
