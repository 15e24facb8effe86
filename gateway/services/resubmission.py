"""Asking elsewhere for sessions whose node was lost before they ran, where the owner wishes it.

Each step is saved before the next, and only one process at a time holds a resubmission: it may die
anywhere, and the next goes on. What decides between the session at the lost node and its successor
is the stage of the resubmission, moved in the transaction that sees the successor accepted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, assert_never
from uuid import UUID

import structlog

from gateway.clients.exchange import NodeTimeoutError, NodeUnreachableError
from gateway.clients.exchange import Stage as ExchangeStage
from gateway.clock import Clock
from gateway.domain.resubmission import BEFORE_RUNNING, Stage, is_lost, silence_of
from gateway.errors import StoreUnavailableError
from gateway.services.caller import ADMIN_OWNER, Caller
from gateway.services.falling_through import Accepted, FallThroughService
from gateway.services.gateway_metrics import GatewayMetrics
from gateway.services.letting_go import LettingGoService
from gateway.services.node_calls import NodeCalls
from gateway.services.offers import OffersService
from gateway.services.quotas import QuotaService
from gateway.services.registry import NodeRegistry
from gateway.services.resubmission_question import again
from gateway.services.sessions import SessionService
from gateway.services.transitions import Stores, Transitions
from gateway.settings import CommandSettings, SessionSettings
from gateway.stores.database import Database, Transaction
from gateway.stores.offersets import OfferSetRow, OfferSetStore
from gateway.stores.resubmissions import Resubmission
from gateway.stores.sessions import SessionRow
from gateway.wire.phases import SessionPhase, is_terminal
from gateway.wire.problem import ProblemError

AT_ONCE: Final = 8
"""Sessions dealt with at the same time: when a large node is lost, the others are not flooded."""

LOOK_S: Final = 5.0
"""How often to look for what is due: it becomes so without a sign, also by other gateways."""

LOOKS_MISSED: Final = 3
"""Silence counts on over so many looks that did not take place; after more it begins anew."""


class _OverError(Exception):
    """The session is not to be replaced any more, or another process is at it."""


class ResubmissionService:
    """Watches what its owners want executed elsewhere if need be, and has it executed there.

    Nobody's credentials are kept: a node that wants the owner's own is asked with the header that
    this process has last seen of them, and refuses where it has seen none.
    """

    def __init__(
        self,
        *,
        database: Database,
        stores: Stores,
        offersets: OfferSetStore,
        registry: NodeRegistry,
        nodes: NodeCalls,
        offers: OffersService,
        falling_through: FallThroughService,
        letting_go: LettingGoService,
        transitions: Transitions,
        sessions: SessionService,
        clock: Clock,
        settings: SessionSettings,
        command_settings: CommandSettings,
        metrics: GatewayMetrics,
        quotas: QuotaService,
    ) -> None:
        self._database = database
        self._stores = stores
        self._offersets = offersets
        self._registry = registry
        self._nodes = nodes
        self._offers = offers
        self._falling_through = falling_through
        self._letting_go = letting_go
        self._transitions = transitions
        self._sessions = sessions
        self._clock = clock
        self._settings = settings
        self._commands = command_settings
        self._metrics = metrics
        self._quotas = quotas
        # The grace begins with this process: nobody is lost because the gateway was away.
        self._listening_since = clock.now()

    async def run_due(self) -> float:
        """Deal with what is due; the seconds until something else may be."""
        if await self._left_s() <= 0:
            now = self._clock.now()
            async with self._database.transaction() as tx:
                claimed = await self._stores.resubmissions.claim(
                    tx,
                    now=now,
                    lease_until=now + timedelta(seconds=self._commands.lease_s),
                    limit=AT_ONCE,
                )
            async with asyncio.TaskGroup() as group:
                for held in claimed:
                    group.create_task(self._go_on(held))
        return max(await self._left_s(), 0.0)

    async def _left_s(self) -> float:
        """Seconds until something is due, or until it is time to look again."""
        async with self._database.reading() as reader:
            due = await self._stores.resubmissions.next_due(reader)
        longest = min(LOOK_S, self._settings.follow_s)
        if due is None:
            return longest
        return min((due - self._clock.now()).total_seconds(), longest)

    async def _go_on(self, held: Resubmission) -> None:
        match held.stage:
            case Stage.WATCHING:
                await self._watch(held)
            case Stage.ASKING:
                await self._ask(held)
            case Stage.MOVED:
                await self._end_lost(held)
            case Stage.CALLED_OFF:
                await self._leave_off(held)
            case Stage.GIVEN_UP:
                await self._save(held, due_s=None)
            case _:
                assert_never(held.stage)

    # -- watching ---------------------------------------------------------------------------------

    async def _watch(self, held: Resubmission) -> None:
        look = await self._sessions.refresh(held.session)
        if look is None:
            return
        row, now = look.row, self._clock.now()
        is_awaited = row.phase in BEFORE_RUNNING and row.asked is SessionPhase.ACCEPTED
        if not is_awaited:
            async with self._database.transaction() as tx:
                await self._stores.resubmissions.end(tx, held)
            return
        follow_s = self._settings.follow_s
        if look.silent is None or _is_our_fault(look.silent):
            await self._save(held, due_s=follow_s)
            return
        silence = silence_of(
            held.silence,
            observed=row.observed,
            now=now,
            gap=timedelta(seconds=LOOKS_MISSED * follow_s + self._settings.read_deadline_s),
        )
        grace = timedelta(seconds=self._settings.resubmit_after_s)
        lost_at = max(silence.since, self._listening_since) + grace
        due = min(now + timedelta(seconds=follow_s), max(lost_at, now))
        async with self._database.transaction() as tx:
            is_held = await self._stores.resubmissions.note_silence(tx, held, silence, due=due)
            if is_held and is_lost(silence, listening_since=self._listening_since, grace=grace):
                await self._begin(tx, held, row)

    async def _begin(self, tx: Transaction, held: Resubmission, row: SessionRow) -> None:
        now = self._clock.now()
        if await self._stores.resubmissions.move(tx, held, Stage.ASKING, now=now, due=now):
            await self._transitions.note(tx, row, "node_lost", "gateway", f"node:{row.node}")
            self._metrics.resubmitted("begun")
            _log.warning("resubmission_begun", session=str(row.uuid), node=row.node)

    # -- asking -----------------------------------------------------------------------------------

    async def _ask(self, held: Resubmission) -> None:
        async with self._database.reading() as reader:
            standing = await self._stores.resubmissions.standing(reader, held.session)
            row = await self._stores.sessions.find(reader, held.session)
            first = await self._first_asked(reader, row) if row else None
            successor = (
                await self._stores.sessions.find(reader, held.successor) if held.successor else None
            )
        if row is None or first is None:
            return
        if not held.may_be_replaced(standing):
            async with self._database.transaction() as tx:
                await self._stores.resubmissions.call_off(tx, held.session, self._clock.now())
        elif held.successor is None:
            await self._ask_and_accept(held, row, first)
        elif _is_being_accepted(successor):
            await self._save(held, due_s=self._pause_s(0))
        else:
            await self._failed(held, held.offerset, "the node did not accept")

    async def _first_asked(self, reader: Transaction, row: SessionRow) -> OfferSetRow | None:
        """The offer set of the owner's own request, however often the work has moved since."""
        for _ in range(self._settings.resubmit_limit):
            before = await self._stores.resubmissions.of_successor(reader, row.uuid)
            earlier = await self._stores.sessions.find(reader, before.session) if before else None
            if earlier is None:
                break
            row = earlier
        return await self._offersets.find(reader, row.offerset)

    async def _ask_and_accept(
        self, held: Resubmission, lost: SessionRow, first: OfferSetRow
    ) -> None:
        async with self._database.reading() as reader:
            groups = await self._quotas.groups_of(reader, first.uuid)
        caller = Caller(
            owner=lost.owner,
            is_admin=lost.owner == ADMIN_OWNER,
            groups=groups,
            authorization=self._nodes.remembered_authorization(lost.owner),
            is_stand_in=True,
        )
        question = again(
            first,
            lost,
            attempt=held.attempts,
            registered=[node.name for node in self._registry],
        )
        try:
            offerset = await self._offers.ask(question, caller)
        except StoreUnavailableError:
            raise
        except ProblemError as error:
            await self._failed(held, None, error.detail)
            return
        uuid = offerset.row.uuid
        if not await self._note_offers(held, uuid):
            return

        async def choose(tried: frozenset[UUID]) -> SessionRow | None:
            rows = (offered.row for offered in offerset.sessions)
            return next((r for r in rows if _is_open(r) and r.uuid not in tried), None)

        deadline = self._clock.monotonic() + self._settings.update_deadline_s
        try:
            result = await self._falling_through.accept_first(
                choose, caller, deadline=deadline, step=self._step(held)
            )
        except _OverError:
            await self._save(held, due_s=0.0)
            return
        if isinstance(result, Accepted):
            _log.info(
                "resubmission_accepted", session=str(lost.uuid), successor=str(result.row.uuid)
            )
            await self._save(held, due_s=self._pause_s(0))
        else:
            why = result.first.detail if result.first else "no node offers to execute it"
            await self._failed(held, uuid, why)

    async def _note_offers(self, held: Resubmission, offerset: UUID) -> bool:
        """Save what was offered; False when it is not this process's to accept any more."""
        async with self._database.transaction() as tx:
            if await self._stores.resubmissions.note_offers(tx, held, offerset):
                return True
            now = await self._stores.resubmissions.find(tx, held.session)
        if now is None or not now.is_open:
            await self._letting_go.let_rest_go(offerset)
        return False

    def _step(self, held: Resubmission) -> Callable[[Transaction, SessionRow], Awaitable[None]]:
        """What is saved with the intent to accept the successor, if it still may be."""

        async def step(tx: Transaction, row: SessionRow) -> None:
            resubmissions, now = self._stores.resubmissions, self._clock.now()
            standing = await resubmissions.standing(tx, held.session)
            if not held.may_be_replaced(standing):
                raise _OverError
            if not await resubmissions.choose(tx, held, row.uuid):
                raise _OverError
            if held.generation + 1 < self._settings.resubmit_limit:
                due = now + timedelta(seconds=self._settings.follow_s)
                generation = held.generation + 1
                await resubmissions.wish(tx, row.uuid, generation=generation, due=due, now=now)

        return step

    async def _failed(self, held: Resubmission, offerset: UUID | None, why: str) -> None:
        """It was asked for in vain: again later, or no more."""
        if offerset is not None:
            await self._letting_go.let_rest_go(offerset)
        now = self._clock.now()
        is_late = now - held.changed >= timedelta(seconds=self._commands.give_up_s)
        due = now + timedelta(seconds=self._pause_s(held.attempts))
        async with self._database.transaction() as tx:
            if not await self._stores.resubmissions.ask_anew(tx, held, error=why, due=due):
                return
            if is_late:
                await self._stores.resubmissions.move(tx, held, Stage.GIVEN_UP, now=now, due=None)
                self._metrics.resubmitted("given_up")
        log = _log.error if is_late else _log.warning
        log("resubmission_failed", session=str(held.session), why=why, is_given_up=is_late)

    # -- the end ----------------------------------------------------------------------------------

    async def _end_lost(self, held: Resubmission) -> None:
        """The successor is accepted: end the session at the lost node, whenever that is back."""
        async with self._database.transaction() as tx:
            row = await self._stores.sessions.find(tx, held.session)
            if row is not None and not is_terminal(row.phase):
                await self._transitions.let_go(tx, row, SessionPhase.CANCELLED, who="gateway")
            await self._stores.resubmissions.look_again(tx, held, due=None)

    async def _leave_off(self, held: Resubmission) -> None:
        """The session stays where it is: let go of what was to take its place."""
        if held.successor is not None:
            async with self._database.transaction() as tx:
                row = await self._stores.sessions.find(tx, held.successor)
                if row is not None and not is_terminal(row.phase):
                    await self._transitions.let_go(tx, row, SessionPhase.CANCELLED, who="gateway")
        if held.offerset is not None:
            await self._letting_go.let_rest_go(held.offerset)
        async with self._database.transaction() as tx:
            standing = await self._stores.resubmissions.standing(tx, held.session)
            if standing is not None and standing.phase in BEFORE_RUNNING:
                due = self._clock.now() + timedelta(seconds=self._settings.follow_s)
                is_held = await self._stores.resubmissions.watch_again(tx, held, due=due)
            else:
                is_held = await self._stores.resubmissions.look_again(tx, held, due=None)
        if is_held:
            self._metrics.resubmitted("called_off")
            _log.info("resubmission_called_off", session=str(held.session))

    async def _save(self, held: Resubmission, *, due_s: float | None) -> None:
        due = None if due_s is None else self._clock.now() + timedelta(seconds=due_s)
        async with self._database.transaction() as tx:
            await self._stores.resubmissions.look_again(tx, held, due=due)

    def _pause_s(self, attempts: int) -> float:
        return min(self._commands.first_s * 2.0 ** min(attempts, 16), self._commands.longest_s)


_log = structlog.stdlib.get_logger(__name__)


def _is_our_fault(silent: object) -> bool:
    """Whether the node was not even asked: that says nothing of it."""
    if isinstance(silent, NodeUnreachableError):
        return silent.is_ours
    return isinstance(silent, NodeTimeoutError) and silent.stage is ExchangeStage.QUEUED


def _is_open(row: SessionRow) -> bool:
    return row.phase is SessionPhase.OFFERED and row.asked is None


def _is_being_accepted(row: SessionRow | None) -> bool:
    return row is not None and (
        row.phase is SessionPhase.OFFERED and row.asked is SessionPhase.ACCEPTED
    )
