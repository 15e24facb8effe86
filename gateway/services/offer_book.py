"""Keeping offer sets: what is handed out, what is let go, and what late answers add."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
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
from gateway.services.answers import NodeAnswer
from gateway.services.appraisal import Appraisal, Hold, messages_without, node_messages
from gateway.services.registry import RegisteredNode
from gateway.services.transitions import Stores, Transitions, is_over
from gateway.stores.database import Database, Transaction
from gateway.stores.events import Event
from gateway.stores.offersets import OfferSetRow, OfferSetStore
from gateway.stores.sessions import SessionRow
from gateway.wire.documents import Document, from_json, to_json
from gateway.wire.phases import SessionPhase

UNSAID_EXPIRY: Final = timedelta(minutes=5)
"""How long an offer that does not say when it expires is taken to last: upstream's own time."""


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
    ) -> None:
        self._database = database
        self._stores = stores
        self._offersets = offersets
        self._transitions = transitions
        self._clock = clock

    async def known(self, answers: Sequence[NodeAnswer], *, components: bool = False) -> set[UUID]:
        """Which UUIDs of these offers, or of their components too, belong to something kept."""
        uuids = [offer.view.uuid for answer in answers for offer in answer.offers]
        if components:
            uuids += [
                uuid
                for answer in answers
                for offer in answer.offers
                for uuid in offer.view.component_uuids
            ]
        return await self._known(uuids)

    async def decide(self, appraisal: Appraisal) -> Decision:
        """What is handed out; no offer with a component that belongs to something kept already.

        Only of what would be handed out are the components looked up: of what is let go nobody
        will read them, and there is much more of it.
        """
        while True:
            decision = replay(appraisal.record())
            kept = [scored.uuid for scored in decision.selection.kept]
            known = await self._known(appraisal.components_of(kept))
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
    ) -> tuple[OfferSetRow, list[SessionRow]]:
        """Save a new offer set. One that is not open hands nothing out."""
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
            await self._offersets.add(tx, row)
            kept = await self._add_sessions(tx, row, kept, appraisal.holds, now)
            await self._note(tx, row, "offered", who, f"{len(kept)} offers")
        return row, kept

    async def add_late(
        self,
        uuid: UUID,
        appraisal: Appraisal,
        answer: NodeAnswer,
        node: RegisteredNode,
        known: AbstractSet[UUID],
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
            is_settled = any(_settles(one) for one in shown)
            if is_settled or not row.is_open:
                await self._add_sessions(tx, row, [], appraisal.holds, now)
            else:
                record = record.with_more(
                    appraisal.candidates, appraisal.rejected, appraisal.declared
                )
                await self._rank_anew(tx, row, record, appraisal, shown, now)
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
    ) -> None:
        decision = replay(record)
        have = {session.uuid for session in shown}
        new = [
            session
            for session in _kept_rows(row, decision, appraisal, now)
            if session.uuid not in have
        ]
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
        offers = appraisal.coverage_of(answer).offers
        entry = CoverageEntry(
            answer.node,
            Outcome.LATE,
            answer.reason or reason(ReasonCode.ARRIVED_LATE),
            round(answer.took_s * 1000),
            offers,
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
        await self._note(tx, row, "answered_late", f"node:{answer.node}", f"{offers} offers")

    async def _add_sessions(
        self,
        tx: Transaction,
        row: OfferSetRow,
        kept: Sequence[SessionRow],
        holds: Mapping[UUID, Hold],
        now: datetime,
    ) -> list[SessionRow]:
        """Save the offers that are handed out, and commands for every other hold.

        Gives those handed out. A UUID that another request has saved since it was looked up is not
        this one's: its offer is not shown, and nobody is told to let go of it.
        """
        have = {session.uuid for session in kept}
        let_go = [_let_go_row(row, hold, now) for uuid, hold in holds.items() if uuid not in have]
        await self._stores.sessions.add(tx, [*kept, *let_go])
        saved = await self._stores.sessions.uuids_of_offerset(tx, row.uuid)
        shown = [session for session in kept if session.uuid in saved]
        let_go = [session for session in let_go if session.uuid in saved]
        components = [
            (component, session.uuid)
            for session in shown
            for component in holds[session.uuid].component_uuids
        ]
        await self._stores.sessions.add_components(tx, components)
        if let_go:
            await self._transitions.reject_holds(tx, let_go)
        return shown

    async def _note(
        self, tx: Transaction, row: OfferSetRow, what: str, who: str, detail: str
    ) -> None:
        event = Event(self._clock.now(), what, who, offerset=row.uuid, detail=detail)
        await self._stores.events.add(tx, event)


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
                federation=to_json(_with_path(statement, hold.offer.raw)),
                observed=now,
                changed=now,
                restoring=restoring,
            )
        )
    return rows


def _let_go_row(row: OfferSetRow, hold: Hold, now: datetime) -> SessionRow:
    return SessionRow(
        uuid=hold.uuid,
        offerset=row.uuid,
        node=hold.node,
        owner=row.owner,
        position=None,
        phase=SessionPhase.REJECTED,
        asked=SessionPhase.REJECTED,
        expires=hold.expires,
        document=None,
        federation=None,
        observed=now,
        changed=now,
    )


def _with_path(statement: Document, raw: bytes) -> Document:
    """The statement with the way to the offer: this node, and the gateways and node below it."""
    # Most nodes are no gateways, and then there is nothing to read.
    below = from_json(raw).get("federation") if b'"federation"' in raw else None
    path = below.get("path") if isinstance(below, dict) else None
    further = path if isinstance(path, list) and all(isinstance(p, str) for p in path) else []
    return statement | {"path": [statement["node"], *further]}


def _federation(gateway: str, record: RankingRecord, coverage: Sequence[CoverageEntry]) -> Document:
    return {
        "gateway": gateway,
        "policy": record.policy.name,
        "coverage": [entry.to_document() for entry in coverage],
    }
