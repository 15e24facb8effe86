"""Lists and drafts in the database: pages hide and repeat nothing, and revisions decide."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.stores.database import Database, RowConflictError
from gateway.stores.drafts import (
    DraftRow,
    DraftStore,
    Neighbours,
    Reasking,
    ReaskingStore,
    Submission,
)
from gateway.stores.listing import ListingStore, Place, Selection, Sort
from gateway.stores.offersets import OfferSetRow, OfferSetStore
from gateway.stores.sessions import SessionRow, SessionStore
from gateway.wire.phases import SessionPhase
from tests.support.stores import Store

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


@pytest.fixture
async def database(store: Store, tmp_path: Path) -> AsyncIterator[Database]:
    async with store.opened(tmp_path) as opened:
        yield opened


async def add_set(
    database: Database,
    created: datetime = NOW,
    owner: str = "ann",
    phases: tuple[SessionPhase, ...] = (SessionPhase.OFFERED,),
    node: str = "alpha",
) -> tuple[UUID, list[UUID]]:
    """An offer set with an offer in each of these phases."""
    uuid = uuid4()
    rows = [
        SessionRow(
            uuid=uuid4(),
            offerset=uuid,
            node=node,
            owner=owner,
            position=position,
            phase=phase,
            asked=SessionPhase.ACCEPTED if phase is SessionPhase.RUNNING else None,
            expires=NOW,
            document=b"{}",
            federation=b"{}",
            observed=NOW,
            changed=created + minutes(100 - 2 * position),
        )
        for position, phase in enumerate(phases, start=1)
    ]
    async with database.transaction() as tx:
        await OfferSetStore().add(tx, OfferSetRow(uuid, owner, created, b"{}", b"{}", b"{}", b"[]"))
        await SessionStore().add(tx, rows)
    return uuid, [row.uuid for row in rows]


def select(**changes: Any) -> Selection:
    given: dict[str, Any] = {"owner": "ann", "limit": 10} | changes
    return Selection(**given)


async def listed(database: Database, selection: Selection) -> list[UUID]:
    async with database.reading() as reader:
        return [row.uuid for row in await ListingStore().offersets(reader, selection)]


async def listed_sessions(database: Database, selection: Selection) -> list[UUID]:
    async with database.reading() as reader:
        return [row.uuid for row in await ListingStore().sessions(reader, selection)]


@pytest.mark.parametrize("sort", [Sort.NEWEST, Sort.CREATED])
async def test_pages_show_everything_once_also_when_instants_are_equal(
    database: Database, sort: Sort
) -> None:
    made = {(await add_set(database, NOW + minutes(n // 3)))[0] for n in range(7)}
    seen: list[UUID] = []
    selection = select(limit=2, sort=sort)
    while True:
        async with database.reading() as reader:
            rows = await ListingStore().offersets(reader, selection)
        seen += [row.uuid for row in rows]
        if len(rows) < 2:
            break
        # What comes in meanwhile, at either end, moves nothing.
        await add_set(database, NOW + minutes(60 if sort is Sort.NEWEST else -60))
        selection = replace(selection, after=Place(rows[-1].created, rows[-1].uuid))
    assert len(seen) == len(made) == 7
    assert set(seen) == made


async def test_only_the_owners_sets_are_listed_or_everybodys(database: Database) -> None:
    mine, _ = await add_set(database)
    theirs, _ = await add_set(database, NOW + minutes(1), owner="bob")
    assert await listed(database, select()) == [mine]
    assert await listed(database, select(owner=None)) == [theirs, mine]
    assert await listed(database, select(owner="")) == []


async def test_sets_are_found_by_time_phase_and_node(database: Database) -> None:
    early, _ = await add_set(database, NOW, phases=(SessionPhase.EXPIRED,))
    late, _ = await add_set(
        database, NOW + minutes(1), phases=(SessionPhase.RUNNING, SessionPhase.REJECTED), node="b"
    )
    assert await listed(database, select(since=NOW + minutes(1))) == [late]
    assert await listed(database, select(until=NOW + minutes(1))) == [early]
    assert await listed(database, select(phases=(SessionPhase.EXPIRED,))) == [early]
    assert await listed(database, select(node="b")) == [late]
    assert await listed(database, select(node="b", phases=(SessionPhase.EXPIRED,))) == []


async def test_a_listed_set_says_how_many_offers_are_where(database: Database) -> None:
    phases = (SessionPhase.RUNNING, SessionPhase.REJECTED, SessionPhase.REJECTED)
    _, sessions = await add_set(database, phases=phases)
    await add_set(database, NOW - minutes(1), phases=())
    async with database.reading() as reader:
        row, empty = await ListingStore().offersets(reader, select())
    assert row.phases == {SessionPhase.RUNNING: 1, SessionPhase.REJECTED: 2}
    assert row.accepted == sessions[0]
    assert (empty.phases, empty.accepted) == ({}, None)


async def test_sessions_are_those_that_were_accepted_unless_phases_are_said(
    database: Database,
) -> None:
    phases = (SessionPhase.OFFERED, SessionPhase.COMPLETED, SessionPhase.RUNNING)
    _, (offered, completed, running) = await add_set(database, phases=phases)
    await add_set(database, owner="bob", phases=phases)
    assert set(await listed_sessions(database, select())) == {completed, running}
    assert await listed_sessions(database, select(phases=(SessionPhase.OFFERED,))) == [offered]
    by_change = select(sort=Sort.LATELY_CHANGED)
    assert await listed_sessions(database, by_change) == [completed, running]
    after = Place(NOW + minutes(96), completed)
    assert await listed_sessions(database, replace(by_change, after=after)) == [running]
    assert await listed_sessions(database, select(node="beta")) == []


async def test_lists_are_read_along_an_index_on_sqlite(database: Database, store: Store) -> None:
    if store.server is not None:
        return  # there the statistics of the table decide
    async with database.reading() as reader:
        plan = await reader.fetch(
            "EXPLAIN QUERY PLAN SELECT uuid FROM sessions WHERE owner = ? AND sessions.phase "
            "NOT IN ('INITIAL', 'OFFERED', 'REJECTED', 'EXPIRED') ORDER BY changed DESC, uuid DESC",
            ("ann",),
        )
    assert "sessions_by_change" in plan[0]["detail"]


def draft(owner: str = "ann", **changes: Any) -> DraftRow:
    given: dict[str, Any] = {
        "uuid": uuid4(),
        "owner": owner,
        "name": "one",
        "source": b"{}",
        "request": b"{}",
        "revision": 1,
        "created": NOW,
        "changed": NOW,
    }
    return DraftRow(**given | changes)


async def test_of_two_changes_of_one_revision_one_is_saved(database: Database) -> None:
    row, drafts = draft(), DraftStore()
    first = replace(row, request=b'{"a":1}', revision=2, changed=NOW + minutes(1))
    async with database.transaction() as tx:
        await drafts.add(tx, row)
        assert await drafts.change(tx, first)
        assert not await drafts.change(tx, replace(row, name=None, revision=2))
        assert await drafts.find(tx, row.uuid) == first


async def test_drafts_are_counted_listed_and_forgotten_by_owner_and_age(
    database: Database,
) -> None:
    old, new, other = draft(changed=NOW - minutes(9)), draft(created=NOW + minutes(1)), draft("bob")
    drafts = DraftStore()
    async with database.transaction() as tx:
        for row in (old, new, other):
            await drafts.add(tx, row)
        assert await drafts.count_of(tx, "ann") == 2
        assert await drafts.page(tx, select()) == [new, old]
        assert await drafts.page(tx, select(sort=Sort.CHANGED, limit=1)) == [old]
        assert await drafts.forget(tx, NOW - minutes(5)) == 1
        assert await drafts.find(tx, old.uuid) is None


async def test_a_submission_is_noted_once_and_goes_with_its_draft(database: Database) -> None:
    row, drafts = draft(), DraftStore()
    first, second = Submission(uuid4(), 1, NOW), Submission(uuid4(), 2, NOW + minutes(1))
    async with database.transaction() as tx:
        await drafts.add(tx, row)
        for submission in (first, second, second):
            await drafts.note_submission(tx, row.uuid, submission)
        assert await drafts.submissions(tx, row.uuid, 5) == [second, first]
        assert await drafts.submissions(tx, row.uuid, 1) == [second]
        await drafts.remove(tx, row.uuid)
        await drafts.note_submission(tx, row.uuid, first)
        assert await drafts.submissions(tx, row.uuid, 5) == []


async def test_a_set_is_replaced_once_and_asked_in_vain_as_often_as_wanted(
    database: Database,
) -> None:
    (old, _), (vain, _), (new, _), (late, _) = [await add_set(database) for _ in range(4)]
    reaskings = ReaskingStore()
    async with database.transaction() as tx:
        await reaskings.add(tx, Reasking(vain, old, None, replaces=False, at=NOW))
        assert await reaskings.replacement(tx, old) is None
        await reaskings.add(tx, Reasking(new, old, "key", replaces=True, at=NOW))
    with pytest.raises(RowConflictError):
        async with database.transaction() as tx:
            await reaskings.add(tx, Reasking(late, old, None, replaces=True, at=NOW))
    async with database.reading() as reader:
        assert await reaskings.replacement(reader, old) == Reasking(new, old, "key", True, NOW)
        assert await reaskings.neighbours(reader, old) == Neighbours(None, new)
        assert await reaskings.neighbours(reader, vain) == Neighbours(old, None)
        assert await reaskings.neighbours(reader, late) == Neighbours()
