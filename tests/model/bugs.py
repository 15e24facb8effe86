"""Bugs seeded on purpose, so that it is known that the model would find them.

Each is a class of the product with one thing left out; the product itself carries no switches.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from gateway.clients.broker import BrokerClient, CallContext, SessionReply
from gateway.clients.exchange import NodeError, NodeTimeoutError
from gateway.services.acceptance import AcceptanceService
from gateway.services.caller import Caller
from gateway.services.idempotency import IdempotencyService, Reservation
from gateway.services.letting_go import LettingGoService
from gateway.services.resubmission import ResubmissionService
from gateway.services.verdicts import Delivered, Undelivered
from gateway.stores.commands import Command, CommandStore
from gateway.stores.database import Transaction, to_micros
from gateway.stores.idempotency import IdempotencyStore, KeyRow
from gateway.stores.resubmissions import Resubmission, ResubmissionStore, Standing
from gateway.stores.sessions import SessionRow, SessionStore
from gateway.wire.phases import SessionPhase
from tests.model.gateways import Parts

_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Bug:
    """A way to get it wrong, the scenario that shows it, and how deep the model has to look.

    ``shows`` is the promise that breaks, as it is reported; ``schema`` what is changed in the
    database.
    """

    name: str
    scenario: str
    bound: int
    shows: str
    parts: Parts
    schema: tuple[str, ...] = field(default=())


class _TellsBeforeSaving(AcceptanceService):
    """Tells the node to accept, and only then saves that it is wanted."""

    async def _accept(
        self, uuid: UUID, caller: Caller, deadline: float, *args: Any, **more: Any
    ) -> SessionRow:
        async with self._database.reading() as reader:
            row = await self._stores.owned(reader, uuid, caller)
        client = self._nodes.client(row.node)
        if row.phase is SessionPhase.OFFERED and client is not None:
            with suppress(NodeError):
                await client.update_phase(
                    uuid, SessionPhase.ACCEPTED, CallContext(), deadline=deadline
                )
        return await super()._accept(uuid, caller, deadline, *args, **more)


class _BelievesTheStatus(AcceptanceService):
    """Takes 200 for an acceptance, whatever phase the answer shows."""

    async def _tell(self, *args: Any, **more: Any) -> SessionReply | NodeError:
        reply = await super()._tell(*args, **more)
        if isinstance(reply, NodeError):
            return reply
        return replace(reply, view=_accepted(reply))


def _accepted(reply: SessionReply) -> Any:
    view = reply.view
    fields = {name: getattr(view, name) for name in view.__struct_fields__}
    return type(view)(**fields | {"phase": SessionPhase.ACCEPTED})


class _TakesSilenceForNo(AcceptanceService):
    """Takes an answer that does not come for a refusal, and frees the way for another offer."""

    async def _carry(
        self, intent: Any, client: BrokerClient | None, call: CallContext, deadline: float
    ) -> SessionRow:
        if client is None:
            return await super()._carry(intent, client, call, deadline)
        sent = self._clock.now()
        reply = await self._tell(intent, client, call, deadline)
        if isinstance(reply, NodeTimeoutError):
            return await self._refused(intent, "it did not answer")
        if isinstance(reply, NodeError):
            return await super()._carry(intent, client, call, deadline)
        return await self._take_in(intent, reply, sent, "")


class _KnowsNoSiblings(SessionStore):
    """Does not look whether another of the set is accepted."""

    async def accepted_sibling(self, tx: Transaction, row: SessionRow) -> UUID | None:
        del tx, row
        return None


class _ExpiresWhatIsAsked(SessionStore):
    """Lets an offer expire while its acceptance is under way."""

    async def expired(self, tx: Transaction, now: datetime, limit: int) -> list[SessionRow]:
        found = await tx.fetch(
            "SELECT uuid FROM sessions WHERE phase = 'OFFERED' AND expires <= ? LIMIT ?",
            (to_micros(now), limit),
        )
        rows = [await self.find(tx, UUID(row["uuid"])) for row in found]
        return [row for row in rows if row is not None]


class _ForgetsTheFence(CommandStore):
    """Lets whoever had a command once report on it, also after a newer claim or wish."""

    async def is_held(self, tx: Transaction, command: Command) -> bool:
        return await self.find(tx, command.session) is not None

    async def done(self, tx: Transaction, command: Command) -> bool:
        await self.drop(tx, command.session)
        return True

    async def done_all(self, tx: Transaction, commands: Sequence[Command]) -> None:
        for command in commands:
            await self.drop(tx, command.session)


class _TellsOnce(LettingGoService):
    """Takes a node for told that it may not have heard."""

    async def deliver(
        self, command: Command, client: BrokerClient, call: CallContext, deadline: float
    ) -> Delivered | Undelivered:
        await super().deliver(command, client, call, deadline)
        return Delivered("it was told")


class _DropsWhatIsPending(AcceptanceService):
    """Gives an acceptance up when its first tries are lost, without knowing what became of it."""

    async def _leave(self, intent: Any, *, is_given_up: bool, who: str) -> bool:
        del is_given_up, who
        async with self._database.transaction() as tx:
            row = await self._stores.session(tx, intent.row.uuid)
            if row.asked is SessionPhase.ACCEPTED and row.phase is SessionPhase.OFFERED:
                await self._transitions.end_accept(tx, row, why="nobody knows")
        return True


class _SeesNobodyBack(ResubmissionStore):
    """Takes no notice of what a node that was lost has shown since."""

    async def standing(self, tx: Transaction, session: UUID) -> Standing | None:
        standing = await super().standing(tx, session)
        return standing and Standing(SessionPhase.ACCEPTED, _LONG_AGO)


class _LeavesTheLost(ResubmissionService):
    """Does not end what the lost node has, once another has accepted."""

    async def _end_lost(self, held: Resubmission) -> None:
        await self._save(held, due_s=None)


class _SavesTheKeyAfter(IdempotencyService):
    """Keeps which request a key belongs to only once that is answered."""

    @asynccontextmanager
    async def reserving(
        self, *, key: str | None, path: str, owner: str, fingerprint: bytes
    ) -> AsyncIterator[Reservation]:
        assert key is not None, "only such requests are made here"
        async with self._database.reading() as reader:
            row = await reader.fetch_one("SELECT offerset FROM idempotency WHERE key = ?", (key,))
        if row is not None:
            yield Reservation(UUID(row["offerset"]), is_answered=True)
            return
        reservation = Reservation(self._mint())
        yield reservation
        async with self._database.transaction() as tx:
            await self._keys.reserve(
                tx,
                owner=owner,
                path=path,
                key=key,
                digest=hashlib.sha256(fingerprint).hexdigest(),
                offerset=reservation.offerset,
                holder=self._self,
                now=self._clock.now(),
            )


class _HeedsNoBody(IdempotencyStore):
    """Knows a key by its name alone."""

    async def reserve(self, tx: Transaction, *, digest: str, **key: Any) -> KeyRow:
        return replace(await super().reserve(tx, digest=digest, **key), digest=digest)


BUGS: Final[Sequence[Bug]] = (
    Bug(
        name="the node is told before the intent is saved",
        scenario="one accept",
        bound=1,
        shows="aa runs at n1 and is shown as EXPIRED",
        parts=Parts({"AcceptanceService": _TellsBeforeSaving}),
    ),
    Bug(
        name="200 counts as accepted",
        scenario="the node has let it expire",
        bound=0,
        shows="aa is shown as ACCEPTED and does not run at n1",
        parts=Parts({"AcceptanceService": _BelievesTheStatus}),
    ),
    Bug(
        name="siblings are not fenced",
        scenario="two siblings",
        bound=1,
        shows="aa and bb of one offer set run",
        parts=Parts(sessions=_KnowsNoSiblings),
        schema=("DROP INDEX one_accept_per_offerset",),
    ),
    Bug(
        name="a command's fence is not checked",
        scenario="left half-way, then rejected",
        bound=2,
        shows="aa runs at n1 and is shown as REJECTED",
        parts=Parts(commands=_ForgetsTheFence),
    ),
    Bug(
        name="silence is taken for no",
        scenario="accept, then the next",
        bound=1,
        shows="aa and bb of one offer set run",
        parts=Parts({"AcceptanceService": _TakesSilenceForNo}),
    ),
    Bug(
        name="offers expire while they are accepted",
        scenario="one accept",
        bound=2,
        shows="aa runs at n1 and is shown as EXPIRED",
        parts=Parts(sessions=_ExpiresWhatIsAsked),
    ),
    Bug(
        name="a lost cancel is not told again",
        scenario="accept, then cancel",
        bound=1,
        shows="aa runs at n1 and is shown as CANCELLED",
        parts=Parts({"LettingGoService": _TellsOnce}),
    ),
    Bug(
        name="a lost acceptance is dropped",
        scenario="accept, then the next",
        bound=1,
        shows="aa runs at n1 and is shown as EXPIRED",
        parts=Parts({"AcceptanceService": _DropsWhatIsPending}),
    ),
    Bug(
        name="a lost node that is back is not heeded",
        scenario="its node comes back",
        bound=2,
        shows="aa is replaced, and was RUNNING",
        parts=Parts(resubmissions=_SeesNobodyBack),
    ),
    Bug(
        name="a lost node is not told",
        scenario="its node is lost",
        bound=0,
        shows="aa and d1 both run",
        parts=Parts({"ResubmissionService": _LeavesTheLost}),
    ),
    Bug(
        name="a key is saved after its request",
        scenario="one key, asked twice",
        bound=1,
        shows="the key was answered 2002 for one, and 1002 for one",
        parts=Parts({"IdempotencyService": _SavesTheKeyAfter}),
    ),
    Bug(
        name="a key is any request's",
        scenario="one key, two requests",
        bound=0,
        shows="for one, and 1002 for another",
        parts=Parts(keys=_HeedsNoBody),
    ),
)
"""Each is found by the model within its bound, and its scenario is without fault otherwise."""
