"""Keeping offer sets: what is handed out, what is let go, and what late answers add."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.domain.coverage import (
    CoverageEntry,
    Outcome,
    entry_from_document,
    with_entry,
)
from gateway.domain.reasons import ReasonCode, reason
from gateway.domain.record import Decision, RankingRecord, record_from_json, replay
from gateway.domain.restoring import restored
from gateway.domain.ways import Way, taken_ways
from gateway.services.answers import NodeAnswer
from gateway.services.appraisal import Appraisal, Hold, messages_without, node_messages
from gateway.services.quotas import Quota, QuotaService
from gateway.services.registry import RegisteredNode
from gateway.services.transitions import Stores, Transitions, is_over
from gateway.stores.database import Database, Transaction
from gateway.stores.events import Event
from gateway.stores.offersets import OfferSetRow, OfferSetStore
from gateway.stores.sessions import SessionRow
from gateway.stores.unkept import Unkept
from gateway.wire.documents import Document, from_json, to_json
from gateway.wire.phases import SessionPhase

UNSAID_EXPIRY: Final = timedelta(minutes=5)
"""How long an offer that does not say when it expires is taken to last: upstream's own time."""

TOLD_TOGETHER: Final = 16
"""Holds of one request that a node is told of under one lease: some 50 ms of a quick node, and as
many as are asked for of any that heeds ``limit``."""

_NOT_ACCEPTED: Final = frozenset(
    {SessionPhase.INITIAL, SessionPhase.OFFERED, SessionPhase.REJECTED, SessionPhase.EXPIRED}
)


class OfferBook:
    """Saves offer sets whole: offers, routes, coverage and ranking inputs in one transaction."""

    def __init__(
        self,
        database: Database,
        stores: Stores,
        offersets: OfferSetStore,
        transitions: Transitions,
        clock: Clock,
        quotas: QuotaService,
    ) -> None:
        self._database = database
        self._stores = stores
        self._offersets = offersets
        self._transitions = transitions
        self._clock = clock
        self._quotas = quotas

    async def known(self, answer: NodeAnswer) -> set[UUID]:
        """Which UUIDs of these offers or of their components belong to something kept."""
        return await self._known(
            [uuid for offer in answer.offers for uuid in (offer.view.uuid, *offer.component_uuids)]
        )

    async def decide(self, appraisal: Appraisal) -> Decision:
        """What is handed out; nothing with a UUID that belongs to something kept already.

        Only what would be handed out is looked up: of what is let go nobody will read it, and there
        is much more of it.
        """
        while True:
            decision = replay(appraisal.record())
            kept = [scored.uuid for scored in decision.selection.kept]
            known = await self._known([*kept, *appraisal.components_of(kept)])
            if not known:
                return decision
            appraisal.drop_duplicates(kept, known)

    async def _known(self, uuids: Sequence[UUID]) -> set[UUID]:
        if not uuids:
            return set()
        async with self._database.reading() as reader:
            return await self._stores.sessions.known(reader, uuids)

    async def read(self, uuid: UUID) -> tuple[OfferSetRow, list[SessionRow]] | None:
        """An offer set and what it shows, if known; offers whose time is over are marked so."""
        async with self._database.snapshot() as reader:
            row = await self._offersets.find(reader, uuid)
            if row is None:
                return None
            sessions = await self._stores.sessions.of_offerset(reader, uuid)
        now = self._clock.now()
        if any(is_over(session, now) for session in sessions):
            async with self._database.transaction() as tx:
                sessions = [
                    await self._transitions.expire(tx, session)
                    if is_over(session, now)
                    else session
                    for session in await self._stores.sessions.of_offerset(tx, uuid)
                ]
        return row, sessions

    async def claim(self, root: UUID, offerset: UUID) -> bool:
        """Whether this offer set is the one that answers a client's request here."""
        async with self._database.transaction() as tx:
            return await self._offersets.claim(tx, root, offerset, self._clock.now())

    async def add(
        self,
        appraisal: Appraisal,
        decision: Decision,
        *,
        uuid: UUID,
        owner: str,
        who: str,
        request: Document,
        coverage: Sequence[CoverageEntry],
        gateway: str,
        is_open: bool,
        groups: AbstractSet[str] = frozenset(),
        quota: Quota | None = None,
    ) -> tuple[OfferSetRow, list[SessionRow]]:
        """Save a new offer set. One that is not open hands nothing out.

        ``groups`` are those of the owner that are to be remembered. Others may have used up the
        ``quota`` since the nodes were asked: then it hands out less.

        Raises
        ------
        OfferQuotaError
            It may hand out nothing; every hold is let go of.
        """
        now = self._clock.now()
        record = decision.record
        row = OfferSetRow(
            uuid=uuid,
            owner=owner,
            created=now,
            request=to_json(request),
            record=record.to_json(),
            federation=to_json(_federation(gateway, record, coverage)),
            messages=to_json(appraisal.messages(coverage)),
            is_open=is_open,
        )
        kept = _kept_rows(row, decision, appraisal, now) if is_open else []
        async with self._database.transaction() as tx:
            refusal = None
            if quota is not None and kept:
                room = await self._quotas.room_for_offers(tx, quota)
                refusal = room.refusal
                if room.left is not None and room.left < len(kept):
                    row, kept = _within(room.left, row, decision, appraisal, now)
            await self._offersets.add(tx, row)
            await self._quotas.remember_groups(tx, uuid, groups)
            kept = await self._add_sessions(tx, row, kept, appraisal.holds, now)
            await self._note(tx, row, "offered", who, f"{len(kept)} offers")
        if refusal is not None:
            raise refusal
        return row, kept

    async def add_late(
        self,
        uuid: UUID,
        appraisal: Appraisal,
        answer: NodeAnswer,
        node: RegisteredNode,
        known: AbstractSet[UUID],
        *,
        quota: Quota | None = None,
    ) -> bool:
        """Take a late answer into its offer set where there is room; let the rest of it go.

        What was handed out stays: a late offer only ever comes in addition. ``appraisal`` is a new
        one. False when there is no such offer set, and nothing was done.
        """
        now = self._clock.now()
        async with self._database.transaction() as tx:
            row = await self._offersets.find(tx, uuid)
            if row is None:
                return False
            record = record_from_json(row.record)
            appraisal.add(answer, node, known, seen=now)
            shown = await self._stores.sessions.of_offerset(tx, uuid)
            appraisal.drop_longer_ways(taken_ways(one.federation for one in shown))
            is_settled = any(_settles(one) for one in shown)
            is_settled = is_settled or await self._offersets.is_replaced(tx, uuid)
            if is_settled or not row.is_open:
                await self._add_sessions(tx, row, [], appraisal.holds, now)
            else:
                record = record.with_more(
                    appraisal.candidates, appraisal.rejected, appraisal.declared
                )
                room = None
                if quota is not None:
                    room = (await self._quotas.room_for_offers(tx, quota)).left
                await self._rank_anew(tx, row, record, appraisal, shown, now, room)
            await self._say_late(tx, row, record, appraisal, answer)
        return True

    async def _rank_anew(
        self,
        tx: Transaction,
        row: OfferSetRow,
        record: RankingRecord,
        appraisal: Appraisal,
        shown: Sequence[SessionRow],
        now: datetime,
        room: int | None,
    ) -> None:
        decision = replay(record)
        have = {session.uuid for session in shown}
        new = [
            session
            for session in _kept_rows(row, decision, appraisal, now)
            if session.uuid not in have
        ][:room]
        await self._add_sessions(tx, row, new, appraisal.holds, now)
        federation_of = {session.uuid: session.federation for session in shown}
        for scored, statement in decision.statements():
            if scored.uuid in have:
                before = from_json(federation_of[scored.uuid] or b"{}")
                await self._stores.sessions.place(
                    tx,
                    scored.uuid,
                    position=statement["rank"],
                    federation=to_json(before | statement),
                )

    async def _say_late(
        self,
        tx: Transaction,
        row: OfferSetRow,
        record: RankingRecord,
        appraisal: Appraisal,
        answer: NodeAnswer,
    ) -> None:
        federation = from_json(row.federation)
        said = appraisal.coverage_of(answer)
        entry = CoverageEntry(
            answer.node,
            Outcome.LATE,
            answer.reason or reason(ReasonCode.ARRIVED_LATE),
            round(answer.took_s * 1000),
            said.offers,
            said.below,
        )
        coverage = with_entry(map(entry_from_document, federation["coverage"]), entry)
        messages = [
            *messages_without(answer.node, from_json(row.messages)),
            *node_messages([entry], self._clock.now()),
        ]
        await self._offersets.rank_anew(
            tx,
            row.uuid,
            record=record.to_json(),
            federation=to_json(_federation(federation["gateway"], record, coverage)),
            messages=to_json(messages),
        )
        await self._note(tx, row, "answered_late", f"node:{answer.node}", f"{entry.offers} offers")

    async def _add_sessions(
        self,
        tx: Transaction,
        row: OfferSetRow,
        kept: Sequence[SessionRow],
        holds: Mapping[UUID, Hold],
        now: datetime,
    ) -> list[SessionRow]:
        """Save the offers that are handed out, and every other hold to be let go of.

        Gives those handed out. A UUID that another request has saved since it was looked up is not
        this one's: its offer is not shown, and nobody is told to let go of it.
        """
        await self._stores.sessions.add(tx, kept)
        saved = await self._stores.sessions.uuids_of_offerset(tx, row.uuid) if kept else set()
        shown = [session for session in kept if session.uuid in saved]
        components = [
            (component, session.uuid)
            for session in shown
            for component in holds[session.uuid].component_uuids
        ]
        await self._stores.sessions.add_components(tx, components)
        have = {session.uuid for session in kept}
        unkept = [hold for uuid, hold in holds.items() if uuid not in have]
        if unkept:
            await self._transitions.let_unkept_go(tx, self._unkept(row, unkept, now))
        return shown

    def _unkept(self, row: OfferSetRow, holds: Sequence[Hold], now: datetime) -> list[Unkept]:
        """The holds by node, a limited number together: what is told is told within one lease."""
        by_node: dict[str, list[Hold]] = {}
        for hold in holds:
            by_node.setdefault(hold.node, []).append(hold)
        return [
            Unkept(
                offerset=row.uuid,
                node=node,
                owner=row.owner,
                uuids=tuple([hold.uuid for hold in some]),
                give_up=max(
                    self._transitions.give_up_offer(expires, now)
                    for expires in {hold.expires for hold in some}
                ),
            )
            for node, held in by_node.items()
            for some in _parts(held)
        ]

    async def _note(
        self, tx: Transaction, row: OfferSetRow, what: str, who: str, detail: str
    ) -> None:
        event = Event(self._clock.now(), what, who, offerset=row.uuid, detail=detail)
        await self._stores.events.add(tx, event)


def _parts(holds: Sequence[Hold]) -> Iterator[Sequence[Hold]]:
    for start in range(0, len(holds), TOLD_TOGETHER):
        yield holds[start : start + TOLD_TOGETHER]


def _settles(row: SessionRow) -> bool:
    """Whether this session was the set's one accept, whatever became of it since."""
    return row.asked is SessionPhase.ACCEPTED or row.phase not in _NOT_ACCEPTED


def _kept_rows(
    row: OfferSetRow, decision: Decision, appraisal: Appraisal, now: datetime
) -> list[SessionRow]:
    rows = []
    for scored, statement in decision.statements():
        hold = appraisal.holds.get(scored.uuid)
        if hold is None or hold.offer is None:
            continue
        restoring = appraisal.restoring_of(scored.node)
        rows.append(
            SessionRow(
                uuid=scored.uuid,
                offerset=row.uuid,
                node=scored.node,
                owner=row.owner,
                position=statement["rank"],
                phase=SessionPhase.OFFERED,
                asked=None,
                expires=hold.expires or now + UNSAID_EXPIRY,
                document=restored(hold.offer.raw, restoring),
                federation=to_json(_with_way(statement, appraisal.way_of(hold))),
                observed=now,
                changed=now,
                restoring=restoring,
            )
        )
    return rows


def _within(
    room: int, row: OfferSetRow, decision: Decision, appraisal: Appraisal, now: datetime
) -> tuple[OfferSetRow, list[SessionRow]]:
    """The offer set with the best ``room`` of its offers; closed where that is none."""
    record = replace(decision.record, limit=room)
    row = replace(row, record=record.to_json(), is_open=room > 0)
    return row, _kept_rows(row, replay(record), appraisal, now)


def _with_way(statement: Document, way: Way) -> Document:
    """The statement with the way to the offer: this node, and the gateways and node below it."""
    return statement | {"path": [way.node, *way.path], "origin": way.origin}


def _federation(gateway: str, record: RankingRecord, coverage: Sequence[CoverageEntry]) -> Document:
    return {
        "gateway": gateway,
        "policy": record.policy.name,
        "coverage": [entry.to_document() for entry in coverage],
    }
