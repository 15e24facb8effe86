"""What clients do in the model, and what may go wrong meanwhile."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from gateway.errors import StoreUnavailableError, UpdateRefusedError
from gateway.services.caller import Caller
from gateway.services.falling_through import Accepted, NobodyAccepted
from gateway.stores.commands import CommandStore, Wish
from gateway.stores.database import Transaction
from gateway.stores.offersets import OfferSetRow, OfferSetStore
from gateway.stores.sessions import SessionRow, SessionStore
from gateway.wire.phases import SessionPhase
from tests.model.gateways import COMMANDS, SESSIONS, SimGateway
from tests.model.moves import NETWORK, Fault
from tests.model.nodes import START_S, SimNode, document_of, instant
from tests.model.promises import Ledger
from tests.model.world import GatewayDiedError, World

OFFERED_FOR_S: Final = 300.0
"""How long offers last: upstream's time (contract §3.1)."""

OFFERSET: Final = UUID(int=0x0F << 120)
A: Final = UUID(int=0xAA << 120)
B: Final = UUID(int=0xBB << 120)
"""Two offers of one set."""

ALICE: Final = Caller(owner="alice")


@dataclass(frozen=True, slots=True)
class Play:
    """What a script may use."""

    world: World
    ledger: Ledger

    async def update(self, client: str, gateway: str, uuid: UUID, phase: SessionPhase) -> bool:
        """Ask for a phase; whether there was a definite answer."""
        self.ledger.asks(client, uuid, phase)
        try:
            reading = await self.world.call(gateway, lambda g: g.updates.update(uuid, phase, ALICE))
        except (UpdateRefusedError, StoreUnavailableError, GatewayDiedError) as error:
            self.ledger.refused_by(client, uuid, error, phase)
            return isinstance(error, UpdateRefusedError) and error.status == 409
        self.ledger.told(client, uuid, phase, reading.row)
        return True

    async def insist(self, client: str, uuid: UUID, phase: SessionPhase, *via: str) -> bool:
        """Ask one gateway after the other until there is a definite answer."""
        for gateway in via:
            if await self.update(client, gateway, uuid, phase):
                return True
        return False

    async def accept_first(self, client: str, gateway: str) -> None:
        """Accept the best offer whose node keeps to it, as a direct request does."""
        deadline = self.world.loop.now_s + SESSIONS.update_deadline_s

        async def work(served_by: SimGateway) -> Accepted | NobodyAccepted:
            async def choose(tried: frozenset[UUID]) -> SessionRow | None:
                for uuid in (A, B):
                    if uuid not in tried:
                        row = (await served_by.sessions.read_saved(uuid, ALICE)).row
                        if row.phase is SessionPhase.OFFERED:
                            self.ledger.asks(client, uuid, SessionPhase.ACCEPTED)
                            return row
                return None

            return await served_by.falling_through.accept_first(choose, ALICE, deadline=deadline)

        try:
            result = await self.world.call(gateway, work)
        except (UpdateRefusedError, StoreUnavailableError, GatewayDiedError):
            return
        if isinstance(result, Accepted) and result.pending is None:
            self.ledger.told(client, result.row.uuid, SessionPhase.ACCEPTED, result.row)

    async def read(self, client: str, gateway: str, uuid: UUID) -> None:
        """Look at a session."""
        try:
            reading = await self.world.call(gateway, lambda g: g.sessions.read(uuid, ALICE))
        except (StoreUnavailableError, GatewayDiedError):
            return
        self.ledger.showed(client, reading.row)


Script = Callable[[Play], Awaitable[None]]
"""What one client does."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Clients by name with their scripts, the nodes of the two offers, and the faults there are.

    With ``is_left_half_way`` a gateway has died over the acceptance of A before: the node has
    accepted, and the command that would find that out is due.
    """

    name: str
    scripts: dict[str, Script]
    faults: frozenset[Fault]
    nodes: Callable[[], list[SimNode]] = lambda: [SimNode("n1"), SimNode("n2")]
    held_at: tuple[str, str] = ("n1", "n2")
    is_left_half_way: bool = False


async def _accepts(play: Play) -> None:
    await play.insist("alice", A, SessionPhase.ACCEPTED, "g0", "g1")


async def _accepts_elsewhere(play: Play) -> None:
    await play.update("bob", "g1", A, SessionPhase.ACCEPTED)


async def _accepts_sibling(play: Play) -> None:
    await play.update("bob", "g1", B, SessionPhase.ACCEPTED)


async def _accepts_next(play: Play) -> None:
    await play.update("alice", "g0", A, SessionPhase.ACCEPTED)
    await play.update("alice", "g1", B, SessionPhase.ACCEPTED)


async def _accepts_and_cancels(play: Play) -> None:
    await play.update("alice", "g0", A, SessionPhase.ACCEPTED)
    await play.update("alice", "g1", A, SessionPhase.CANCELLED)


async def _accepts_once(play: Play) -> None:
    await play.update("alice", "g0", A, SessionPhase.ACCEPTED)


async def _rejects(play: Play) -> None:
    await play.update("bob", "g1", A, SessionPhase.REJECTED)


async def _reads(play: Play) -> None:
    await play.read("bob", "g1", A)
    await play.read("bob", "g1", A)


async def _lets_rest_go(play: Play) -> None:
    await play.update("alice", "g0", A, SessionPhase.REJECTED)
    try:
        await play.world.call("g1", lambda g: g.letting_go.let_rest_go(OFFERSET))
    except (StoreUnavailableError, GatewayDiedError):
        return


async def _falls_through(play: Play) -> None:
    await play.accept_first("alice", "g0")
    await play.accept_first("alice", "g1")


_ALL: Final = NETWORK | {Fault.CRASH, Fault.STALL}
_SOME: Final = frozenset({Fault.CRASH, Fault.LOSE, Fault.DELAY, Fault.STALL})


def _odd_node(**changes: Any) -> Callable[[], list[SimNode]]:
    return lambda: [SimNode("n1", **changes), SimNode("n2")]


SCENARIOS: Final = (
    Scenario("one accept", {"alice": _accepts}, _ALL),
    Scenario("one accept, the store goes away", {"alice": _accepts}, _SOME | {Fault.STORE}),
    Scenario("one accept, nodes forget", {"alice": _accepts}, _SOME | {Fault.FORGET}),
    Scenario(
        "one offer accepted twice", {"alice": _accepts_once, "bob": _accepts_elsewhere}, _SOME
    ),
    Scenario("two siblings", {"alice": _accepts_once, "bob": _accepts_sibling}, _SOME),
    Scenario(
        "two siblings at one node",
        {"alice": _accepts_once, "bob": _accepts_sibling},
        _SOME | {Fault.COPY},
        held_at=("n1", "n1"),
    ),
    Scenario("accept against reject", {"alice": _accepts_once, "bob": _rejects}, _SOME),
    Scenario("left half-way, then rejected", {"bob": _rejects}, _SOME, is_left_half_way=True),
    Scenario(
        "left half-way, sibling wanted", {"bob": _accepts_sibling}, _SOME, is_left_half_way=True
    ),
    Scenario("accept, then the next", {"alice": _accepts_next}, _ALL),
    Scenario("accept, then cancel", {"alice": _accepts_and_cancels}, _SOME),
    Scenario("accept and look", {"alice": _accepts_once, "bob": _reads}, _SOME),
    Scenario("nobody wants any", {"alice": _lets_rest_go}, _SOME),
    Scenario("first that is kept", {"alice": _falls_through}, _SOME | {Fault.REFUSE}),
    Scenario(
        "the node has let it expire", {"alice": _accepts_next}, _SOME, _odd_node(ahead_s=600.0)
    ),
    Scenario("the node will not yet", {"alice": _accepts_next}, _ALL, _odd_node(refusals=1)),
    Scenario(
        "the node says 409",
        {"alice": _accepts_next},
        _SOME,
        _odd_node(ahead_s=600.0, is_strict=True),
    ),
)


def nodes_of(scenario: Scenario) -> list[SimNode]:
    """The nodes, with what they hold."""
    nodes = {node.name: node for node in scenario.nodes()}
    for uuid, name in zip((A, B), scenario.held_at, strict=True):
        nodes[name].offer(uuid, START_S + OFFERED_FOR_S)
    if scenario.is_left_half_way:
        nodes[scenario.held_at[0]].accept(A)
    return list(nodes.values())


async def seed(tx: Transaction, scenario: Scenario) -> None:
    """Write the offer set that clients have been given."""
    now, expires_s = instant(START_S), START_S + OFFERED_FOR_S
    asked = SessionPhase.ACCEPTED if scenario.is_left_half_way else None
    await OfferSetStore().add(
        tx,
        OfferSetRow(
            uuid=OFFERSET,
            owner="alice",
            created=now,
            request=b"{}",
            record=b"{}",
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
            phase=SessionPhase.OFFERED,
            asked=asked if uuid == A else None,
            expires=instant(expires_s),
            document=document_of(uuid, SessionPhase.OFFERED, expires_s),
            federation=b"{}",
            observed=now,
            changed=now,
        )
        for position, (uuid, node) in enumerate(zip((A, B), scenario.held_at, strict=True), 1)
    ]
    await SessionStore().add(tx, rows)
    if asked is not None:
        wish = Wish(
            session=A,
            node=scenario.held_at[0],
            phase=asked,
            created=now,
            due=now,
            give_up=now + timedelta(seconds=COMMANDS.give_up_s),
        )
        await CommandStore().put(tx, [wish])
