"""What clients do in the model, one script each, and what they tell the ledger of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gateway.errors import StoreUnavailableError, UpdateRefusedError
from gateway.services.caller import Caller
from gateway.services.direct import FailedDirect
from gateway.services.falling_through import Accepted, NobodyAccepted
from gateway.services.planning import OfferQuestion
from gateway.stores.sessions import SessionRow
from gateway.wire.kinds import DOCKER_CONTAINER
from gateway.wire.phases import SessionPhase
from gateway.wire.problem import ProblemError
from tests.model.gateways import SESSIONS, SimGateway
from tests.model.promises import TAKEN, Ledger
from tests.model.world import GatewayDiedError, World

OFFERSET: Final = UUID(int=0x0F << 120)
A: Final = UUID(int=0xAA << 120)
B: Final = UUID(int=0xBB << 120)
"""Two offers of one set."""

ALICE: Final = Caller(owner="alice")

KEY: Final = "k"
"""The idempotency key of all that is asked under one."""

LOST_AFTER_S: Final = SESSIONS.follow_s + SESSIONS.resubmit_after_s
"""When a node that is lost from the beginning is taken for lost."""


@dataclass(frozen=True, slots=True)
class Play:
    """What a script may use."""

    world: World
    ledger: Ledger

    async def update(
        self,
        client: str,
        gateway: str,
        uuid: UUID,
        phase: SessionPhase,
        *,
        resubmits: bool = False,
    ) -> bool:
        """Ask for a phase; whether there was a definite answer."""
        self.ledger.asks(client, uuid, phase, resubmits=resubmits)
        try:
            reading = await self.world.call(
                gateway, lambda g: g.updates.update(uuid, phase, ALICE, resubmits=resubmits)
            )
        except (UpdateRefusedError, StoreUnavailableError, GatewayDiedError) as error:
            self.ledger.refused_by(client, uuid, error, phase)
            return isinstance(error, UpdateRefusedError) and error.status == 409
        self.ledger.told(client, uuid, phase, reading.row)
        self.ledger.said(client, reading, self._now(uuid))
        return True

    def _now(self, uuid: UUID) -> SessionPhase:
        return next(one.phase for one in self.world.survey.sessions if one.uuid == uuid)

    async def insist(
        self, client: str, uuid: UUID, phase: SessionPhase, *via: str, resubmits: bool = False
    ) -> bool:
        """Ask one gateway after the other until there is a definite answer."""
        for gateway in via:
            if await self.update(client, gateway, uuid, phase, resubmits=resubmits):
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
        self.ledger.said(client, reading, self._now(uuid))

    async def ask(self, client: str, gateway: str, image: str = "one") -> bool:
        """Ask for offers under the key; whether there was an answer."""
        asked = question("/requests", image)
        self.ledger.asks_under(client, image)
        try:
            found = await self.world.call(gateway, lambda g: g.asking.offers.ask(asked, ALICE))
        except (ProblemError, GatewayDiedError) as error:
            self.ledger.unanswered(client, image, error)
            return False
        self.ledger.answered(client, image, found.row.uuid)
        return True

    async def execute(self, client: str, gateway: str, image: str = "one") -> bool:
        """Have something executed directly under the key; whether it was accepted."""
        asked = question("/direct", image)
        self.ledger.asks_under(client, image)
        try:
            found = await self.world.call(gateway, lambda g: g.asking.direct.execute(asked, ALICE))
        except (ProblemError, GatewayDiedError) as error:
            self.ledger.unanswered(client, image, error)
            return False
        if isinstance(found, FailedDirect) or found.row.phase not in TAKEN:
            self.ledger.log.append(f"{client} is told that nothing is executed so far")
            return False
        self.ledger.answered(client, image, found.row.uuid)
        self.ledger.told(client, found.row.uuid, SessionPhase.ACCEPTED, found.row)
        return True


def question(path: str, image: str) -> OfferQuestion:
    """What is asked under the key; another ``image`` makes it another request."""
    document = {"executable": {"kind": DOCKER_CONTAINER, "image": {"locations": [image]}}}
    return OfferQuestion(document=document, path=path, key=KEY)


Script = Callable[[Play], Awaitable[None]]
"""What one client does."""


async def accepts(play: Play) -> None:
    await play.insist("alice", A, SessionPhase.ACCEPTED, "g0", "g1")


async def accepts_elsewhere(play: Play) -> None:
    await play.update("bob", "g1", A, SessionPhase.ACCEPTED)


async def accepts_sibling(play: Play) -> None:
    await play.update("bob", "g1", B, SessionPhase.ACCEPTED)


async def accepts_next(play: Play) -> None:
    await play.update("alice", "g0", A, SessionPhase.ACCEPTED)
    await play.update("alice", "g1", B, SessionPhase.ACCEPTED)


async def accepts_and_cancels(play: Play) -> None:
    await play.update("alice", "g0", A, SessionPhase.ACCEPTED)
    await play.update("alice", "g1", A, SessionPhase.CANCELLED)


async def accepts_once(play: Play) -> None:
    await play.update("alice", "g0", A, SessionPhase.ACCEPTED)


async def rejects(play: Play) -> None:
    await play.update("bob", "g1", A, SessionPhase.REJECTED)


async def reads(play: Play) -> None:
    await play.read("bob", "g1", A)
    await play.read("bob", "g1", A)


async def reads_at_last(play: Play) -> None:
    await play.read("alice", "g0", A)
    await play.world.later(LOST_AFTER_S)
    await play.read("alice", "g0", A)


async def lets_rest_go(play: Play) -> None:
    await play.update("alice", "g0", A, SessionPhase.REJECTED)
    try:
        await play.world.call("g1", lambda g: g.letting_go.let_rest_go(OFFERSET))
    except (StoreUnavailableError, GatewayDiedError):
        return


async def falls_through(play: Play) -> None:
    await play.accept_first("alice", "g0")
    await play.accept_first("alice", "g1")


async def wishes(play: Play) -> None:
    await play.insist("alice", A, SessionPhase.ACCEPTED, "g0", "g1", resubmits=True)
    await play.world.later(LOST_AFTER_S)
    await play.read("alice", "g0", A)


async def looks_later(play: Play) -> None:
    await play.world.later(LOST_AFTER_S)
    await play.read("bob", "g1", A)
    await play.world.later(1.0)
    await play.read("bob", "g1", A)


async def looks_after(play: Play) -> None:
    await play.world.later(LOST_AFTER_S + 1.0)
    await play.read("bob", "g1", A)


async def ends_later(play: Play) -> None:
    await play.world.later(LOST_AFTER_S)
    await play.update("bob", "g1", A, SessionPhase.CANCELLED)
    await play.read("bob", "g0", A)


async def asks(play: Play) -> None:
    await play.ask("alice", "g0")
    await play.ask("alice", "g1")


async def asks_elsewhere(play: Play) -> None:
    await play.ask("bob", "g1")


async def asks_something_else(play: Play) -> None:
    await play.ask("bob", "g1", "another")


async def executes(play: Play) -> None:
    await play.execute("alice", "g0")
    await play.execute("alice", "g1")


async def executes_elsewhere(play: Play) -> None:
    await play.execute("bob", "g1")
