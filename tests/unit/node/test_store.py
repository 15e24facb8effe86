"""The node's database: what is written together, what is read back, old files, broken ones."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import pytest

from gateway.wire.identity import DuplicateIdentityError, StoredIdentity
from gateway.wire.phases import ComponentPhase, SessionPhase
from node_stub import migrations, reasons
from node_stub import store as store_module
from node_stub.documents import OfferResult
from node_stub.errors import StoreUnavailableError
from node_stub.identities import Identities
from node_stub.ledger import Amounts
from node_stub.platforms.base import Checkpoint
from node_stub.records import IdempotencyRecord, OfferSetRecord, SessionRecord
from node_stub.slots import Slot, Stages, hold_of
from node_stub.standing import Component, Decision, Intent, Note, Standing
from node_stub.store import NewerDatabaseError, Store, StoreClosedError

NOW: Final = datetime(2026, 8, 3, 9, 0, 0, 123456, tzinfo=UTC)
SECOND: Final = int(NOW.timestamp()) + 1
SLOT: Final = Slot(
    start_earliest=SECOND + 10,
    start_latest=SECOND + 400,
    duration_s=60,
    amounts=Amounts(2, 4, 8),
    expires=SECOND + 300,
    stages=Stages(prepare_s=5, compute_prepare_s=1, release_s=2),
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path / "node.db")
    await store.open()
    yield store
    await store.close()


def new_offerset(created: datetime = NOW) -> OfferSetRecord:
    said = {"kind": "urn:x", "message": "…"}
    return OfferSetRecord(uuid4(), "alice", OfferResult.YES, (said,), created)


def new_session(offerset: UUID, position: int = 0) -> SessionRecord:
    uuid = uuid4()
    return SessionRecord(
        uuid=uuid,
        offerset=offerset,
        position=position,
        owner="alice",
        standing=Standing(SessionPhase.OFFERED, SessionPhase.COMPLETED, Intent.NOTHING, NOW),
        document={"kind": "urn:session", "name": "Ünïcode", "list": [1, 2.5, None, True]},
        slot=SLOT,
        booking=hold_of(SLOT, str(uuid)),
        start_at=None,
        expires=NOW + timedelta(seconds=300),
        created=NOW,
        modified=NOW,
    )


async def saved(store: Store, *phases: SessionPhase) -> list[SessionRecord]:
    """An offer set with a session in each of these phases."""
    offerset = new_offerset()
    records = [new_session(offerset.uuid, i) for i in range(len(phases))]
    records = [
        replace(record, standing=replace(record.standing, phase=phase))
        for record, phase in zip(records, phases, strict=True)
    ]
    async with store.transaction() as transaction:
        await transaction.add_offerset(offerset)
        for record in records:
            await transaction.add_session(record, [uuid4()])
    return records


async def test_what_was_saved_is_read_back_the_same(store: Store) -> None:
    offerset = new_offerset()
    session = new_session(offerset.uuid)
    component = uuid4()
    async with store.transaction() as transaction:
        await transaction.add_offerset(offerset)
        await transaction.add_session(session, [component])

    assert await store.offerset(offerset.uuid) == offerset
    assert await store.session(session.uuid) == session
    assert await store.session_of_component(component) == session
    assert await store.sessions_of(offerset.uuid) == [session]
    assert await store.booked_sessions() == [session]
    assert await store.next_expiry() == session.expires


async def test_a_session_that_changed_is_read_back_changed(store: Store) -> None:
    (before,) = await saved(store, SessionPhase.OFFERED)
    standing = Standing(
        SessionPhase.RUNNING,
        SessionPhase.FAILED,
        Intent.LAUNCH,
        NOW + timedelta(microseconds=1),
        dict.fromkeys(Component, ComponentPhase.RUNNING),
    )
    after = replace(
        before, standing=standing, booking=None, start_at=NOW, document={"compute": {"a": 1}}
    )
    for reason in (reasons.OVER_TIME, reasons.EXECUTION_LOST):
        note = Note(Component.COMPUTE, reason, {"end": "now", "phase": "LOST"})
        after = after.decided(Decision(standing, notes=(note,)), None, NOW)
    assert [said["kind"] for said in after.messages["compute"]] == [
        "urn:over-time",
        "urn:execution-lost",
    ]

    async with store.transaction() as transaction:
        await transaction.save_session(after, before)

    assert await store.session(before.uuid) == after
    assert await store.live_sessions() == [after]
    assert await store.booked_sessions() == []


async def test_an_error_inside_a_transaction_undoes_all_of_it(store: Store) -> None:
    offerset = new_offerset()
    told: list[str] = []

    async def fail() -> None:
        async with store.transaction() as transaction:
            transaction.afterwards(lambda: told.append("committed"))
            await transaction.add_offerset(offerset)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await store.offerset(offerset.uuid) is None
    assert told == []


async def test_those_who_asked_are_told_once_it_is_committed(store: Store) -> None:
    told: list[str] = []
    async with store.transaction() as transaction:
        transaction.afterwards(lambda: told.append("committed"))
        await transaction.add_offerset(new_offerset())
        assert told == []

    assert told == ["committed"]


async def test_others_do_not_see_what_is_not_committed(store: Store) -> None:
    offerset = new_offerset()
    async with store.transaction() as transaction:
        await transaction.add_offerset(offerset)
        assert await transaction.offerset(offerset.uuid) == offerset
        assert await store.offerset(offerset.uuid) is None


async def test_a_cancelled_transaction_leaves_the_store_usable(store: Store) -> None:
    entered = asyncio.Event()

    async def stuck() -> None:
        async with store.transaction() as transaction:
            await transaction.add_offerset(new_offerset())
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(stuck())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert len(await saved(store, SessionPhase.OFFERED)) == 1


@pytest.mark.parametrize("turns", range(6))
async def test_a_transaction_cancelled_at_any_await_is_whole_or_nothing(
    store: Store, turns: int
) -> None:
    offerset = new_offerset()
    told: list[UUID] = []

    async def write() -> None:
        async with store.transaction() as transaction:
            transaction.afterwards(lambda: told.append(offerset.uuid))
            await transaction.add_offerset(offerset)

    task = asyncio.ensure_future(write())
    for _ in range(turns):
        await asyncio.sleep(0.0005)
    task.cancel()
    await asyncio.wait([task])

    assert bool(await store.offerset(offerset.uuid)) is bool(told)
    assert len(await saved(store, SessionPhase.OFFERED)) == 1


async def test_transactions_come_one_after_the_other(store: Store) -> None:
    (before,) = await saved(store, SessionPhase.OFFERED)

    async def count() -> None:
        async with store.transaction() as transaction:
            record = await transaction.session(before.uuid)
            assert record is not None
            number = record.document.get("count", 0) + 1
            await transaction.save_session(replace(record, document={"count": number}), record)

    await asyncio.gather(*(count() for _ in range(20)))

    after = await store.session(before.uuid)
    assert after is not None
    assert after.document == {"count": 20}


async def test_an_answer_is_remembered_by_owner_and_key(store: Store) -> None:
    record = IdempotencyRecord("alice", "k1", "/requests", b"digest", uuid4())
    async with store.transaction() as transaction:
        await transaction.add_answer(record, NOW)
        assert await transaction.answered("alice", "k1") == record
        assert await transaction.answered("bob", "k1") is None
        assert await transaction.answered("alice", "k2") is None


async def test_the_same_key_cannot_be_answered_twice(store: Store) -> None:
    record = IdempotencyRecord("alice", "k1", "/requests", b"digest", uuid4())
    async with store.transaction() as transaction:
        await transaction.add_answer(record, NOW)
        with pytest.raises(sqlite3.IntegrityError):
            await transaction.add_answer(replace(record, result=uuid4()), NOW)


async def test_a_name_is_given_to_one_identity_only(store: Store) -> None:
    identities = Identities(store)
    alice = StoredIdentity(uuid4(), "alice", "hash", frozenset({"astro"}))
    await identities.add(alice)

    with pytest.raises(DuplicateIdentityError) as caught:
        await identities.add(StoredIdentity(uuid4(), "alice", "other"))

    assert caught.value.existing == alice
    assert await identities.find("alice") == alice
    assert await identities.find("Alice") is None


async def test_a_checkpoint_is_kept_until_the_job_is_gone(store: Store) -> None:
    checkpoint = Checkpoint(uuid4(), "simulated", "native", {"boot": "7"})
    async with store.transaction() as transaction:
        await transaction.save_checkpoint(replace(checkpoint, native="older"))
        await transaction.save_checkpoint(checkpoint)
    assert await store.checkpoints() == {checkpoint.session: checkpoint}

    async with store.transaction() as transaction:
        await transaction.remove_checkpoint(checkpoint.session)
    assert await store.checkpoints() == {}


async def test_only_offers_expire(store: Store) -> None:
    offered, _ = await saved(store, SessionPhase.OFFERED, SessionPhase.ACCEPTED)
    assert offered.expires is not None
    async with store.transaction() as transaction:
        too_early = await transaction.expired_offers(offered.expires - timedelta(microseconds=1))
        in_time = await transaction.expired_offers(offered.expires)

    assert too_early == []
    assert in_time == [offered]


async def test_what_has_ended_is_forgotten_in_its_time(store: Store) -> None:
    rejected, completed = await saved(store, SessionPhase.REJECTED, SessionPhase.COMPLETED)
    done = replace(completed, standing=replace(completed.standing, intent=Intent.DONE))
    later = NOW + timedelta(seconds=1)
    async with store.transaction() as transaction:
        await transaction.save_session(done, completed)
    async with store.transaction() as transaction:
        await transaction.forget(NOW, later)
    assert await store.session(rejected.uuid) is None
    assert await store.session(completed.uuid) == done

    async with store.transaction() as transaction:
        await transaction.forget(later, later)
    assert await store.session(completed.uuid) is None
    assert await store.offerset(completed.offerset) is None


async def test_an_answer_of_which_nothing_was_accepted_is_forgotten_with_its_offers(
    store: Store,
) -> None:
    later = NOW + timedelta(seconds=1)
    refused = replace(new_offerset(), result=OfferResult.NO)
    (rejected,) = await saved(store, SessionPhase.REJECTED)
    kept, _ = await saved(store, SessionPhase.COMPLETED, SessionPhase.EXPIRED)
    results = {"no": refused.uuid, "rejected": rejected.offerset, "completed": kept.offerset}
    async with store.transaction() as transaction:
        await transaction.add_offerset(refused)
        for key, uuid in results.items():
            answer = IdempotencyRecord("alice", key, "/requests", b"digest", uuid)
            await transaction.add_answer(answer, NOW)

    async with store.transaction() as transaction:
        await transaction.forget(NOW, later)

    remembered = {uuid for uuid in results.values() if await store.offerset(uuid)}
    async with store.transaction() as transaction:
        answered = {key for key in results if await transaction.answered("alice", key)}
    assert (remembered, answered) == ({kept.offerset}, {"completed"})


async def test_whoever_waits_too_long_for_a_turn_is_told_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT_S", 0.01)
    async with store.transaction():
        with pytest.raises(StoreUnavailableError):
            await saved(store, SessionPhase.OFFERED)
    await saved(store, SessionPhase.OFFERED)


@pytest.mark.parametrize("phase", [SessionPhase.OFFERED, SessionPhase.RUNNING])
async def test_what_still_lives_is_never_forgotten(store: Store, phase: SessionPhase) -> None:
    (record,) = await saved(store, phase)
    much_later = NOW + timedelta(days=1000)

    async with store.transaction() as transaction:
        await transaction.forget(much_later, much_later)

    assert await store.session(record.uuid) == record


async def test_sessions_are_counted_by_phase(store: Store) -> None:
    await saved(store, SessionPhase.OFFERED, SessionPhase.OFFERED, SessionPhase.FAILED)

    assert await store.phase_counts() == {SessionPhase.OFFERED: 2, SessionPhase.FAILED: 1}


async def test_an_old_database_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "node.db"
    store = Store(path)
    await store.open()
    (before,) = await saved(store, SessionPhase.OFFERED)
    await store.close()
    newer = (*migrations.MIGRATIONS, "CREATE TABLE added (x INTEGER) STRICT;")
    monkeypatch.setattr(store_module, "MIGRATIONS", newer)

    store = Store(path)
    await store.open()
    assert await store.session(before.uuid) == before
    await store.close()

    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(newer),)
        assert connection.execute("SELECT count(*) FROM added").fetchone() == (0,)
    connection.close()


async def test_a_migration_that_fails_leaves_the_old_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "node.db"
    store = Store(path)
    await store.open()
    (before,) = await saved(store, SessionPhase.OFFERED)
    await store.close()
    with monkeypatch.context() as patch:
        broken = "CREATE TABLE added (x INTEGER) STRICT; INSERT INTO nowhere VALUES (1);"
        patch.setattr(store_module, "MIGRATIONS", (*migrations.MIGRATIONS, broken))
        with pytest.raises(sqlite3.OperationalError):
            await Store(path).open()

    store = Store(path)
    await store.open()
    assert await store.session(before.uuid) == before
    await store.close()


async def test_the_database_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()

    with pytest.raises(NewerDatabaseError):
        await Store(path).open()


async def test_a_commit_that_fails_leaves_nothing_and_the_store_usable(store: Store) -> None:
    """Its transaction stays open in the engine, and would stand in the way of every later one."""
    told: list[str] = []
    session = new_session(uuid4())  # of no offer set

    async def write() -> None:
        async with store.transaction() as transaction:
            await store._writer.execute("PRAGMA defer_foreign_keys=ON")
            await transaction.add_session(session, [])
            transaction.afterwards(lambda: told.append("committed"))

    with pytest.raises(sqlite3.IntegrityError):
        await write()

    assert told == []
    assert await store.session(session.uuid) is None
    (record,) = await saved(store, SessionPhase.OFFERED)
    assert await store.session(record.uuid) == record


async def test_a_database_that_another_process_keeps_locked_is_unavailable_and_comes_back(
    store: Store, tmp_path: Path
) -> None:
    await store._writer.execute("PRAGMA busy_timeout=10")
    (record,) = await saved(store, SessionPhase.OFFERED)
    other = sqlite3.connect(tmp_path / "node.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError):
            await saved(store, SessionPhase.OFFERED)
        assert await store.session(record.uuid) == record
        other.execute("ROLLBACK")
        await saved(store, SessionPhase.OFFERED)
    finally:
        other.close()


async def test_a_full_disk_is_unavailable_and_undoes_the_transaction(store: Store) -> None:
    (record,) = await saved(store, SessionPhase.OFFERED)
    rows = await store._writer.execute_fetchall("PRAGMA page_count")
    (pages,) = (row[0] for row in rows)
    await store._writer.execute(f"PRAGMA max_page_count={pages}")

    offerset = replace(new_offerset(), messages=({"message": "x" * 100_000},))

    async def write() -> None:
        async with store.transaction() as transaction:
            await transaction.add_offerset(offerset)

    with pytest.raises(StoreUnavailableError):
        await write()
    assert await store.offerset(offerset.uuid) is None

    await store._writer.execute("PRAGMA max_page_count=1000000")
    await saved(store, SessionPhase.OFFERED)
    assert await store.session(record.uuid) == record


async def test_a_store_that_is_not_open_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "node.db")

    assert not await store.is_open()
    with pytest.raises(StoreClosedError):
        await store.session(uuid4())
    with pytest.raises(StoreClosedError):
        async with store.transaction():
            pass
    await store.close()
