"""The audit trail in groups: nothing is lost silently, whatever becomes of the database."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from gateway.errors import StoreUnavailableError
from gateway.services import audit
from gateway.services.audit import AuditTrail
from gateway.services.audit_metrics import AuditMetrics
from gateway.settings import AuditSettings
from gateway.stores.audit import AuditEntry, AuditQuery, AuditStore
from gateway.stores.sqlite import SqliteDatabase
from gateway.wire.audit import AuditedCall
from tests.support.pair import TurnedClock

CALL: Final = AuditedCall("alice", "POST /requests", "a", "127.0.0.1", "id", 303, None)
NOBODYS: Final = replace(CALL, who="nobody", status=401, reason="unauthorized")


@dataclass(slots=True)
class Bench:
    """A trail over a real database, whose table can be taken away."""

    database: SqliteDatabase
    trail: AuditTrail
    clock: TurnedClock
    registry: CollectorRegistry

    def note(self, *objects: str) -> None:
        for one in objects:
            self.trail.note(replace(CALL, object=one))

    def count(self, outcome: str) -> float | None:
        return self.registry.get_sample_value(
            "execbroker_audit_entries_total", {"outcome": outcome}
        )

    async def saved(self) -> list[str | None]:
        """The objects of all entries, oldest first."""
        page: list[AuditEntry]
        page, _ = await self.trail.page(AuditQuery(), before=None, limit=1000)
        return [entry.call.object for entry in reversed(page)]

    async def lose_table(self) -> None:
        async with self.database.transaction() as tx:
            await tx.execute("ALTER TABLE audit RENAME TO audit_lost")

    async def find_table(self) -> None:
        async with self.database.transaction() as tx:
            await tx.execute("ALTER TABLE audit_lost RENAME TO audit")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    database, clock, registry = SqliteDatabase(tmp_path / "db"), TurnedClock(), CollectorRegistry()
    await database.open()
    trail = AuditTrail(
        database, AuditStore(), clock, AuditSettings(days=30), AuditMetrics(registry)
    )
    try:
        yield Bench(database, trail, clock, registry)
    finally:
        await database.close()


def logged(events: Sequence[Mapping[str, object]]) -> list[object]:
    """The objects of the entries that are in the log."""
    return [event["object"] for event in events if event["event"] == "audit"]


async def test_what_was_noted_is_saved_in_its_order_and_wakes_the_writer(bench: Bench) -> None:
    assert not bench.trail.wake.is_set()
    bench.note("a", "b", "c")
    assert bench.trail.wake.is_set()
    assert await bench.trail.run_due() == audit.IDLE_S
    assert await bench.saved() == ["a", "b", "c"]
    assert bench.count("saved") == 3


async def test_while_the_database_is_away_entries_are_logged_once_and_saved_later(
    bench: Bench,
) -> None:
    await bench.lose_table()
    with capture_logs() as events:
        bench.note("a", "b")
        with pytest.raises(StoreUnavailableError):
            await bench.trail.run_due()
        bench.note("c")
        with pytest.raises(StoreUnavailableError):
            await bench.trail.run_due()
        await bench.find_table()
        bench.note("d")
        await bench.trail.run_due()
    assert logged(events) == ["a", "b", "c"]
    assert await bench.saved() == ["a", "b", "c", "d"]


async def test_what_cannot_be_saved_at_the_end_is_in_the_log_and_counted(bench: Bench) -> None:
    await bench.lose_table()
    with capture_logs() as events:
        bench.note("a", "b")
        await bench.trail.flush()
    assert logged(events) == ["a", "b"]
    assert bench.count("logged_only") == 2


async def test_no_more_waits_than_there_is_room_for_and_the_rest_is_logged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MOST_WAITING", 2)
    with capture_logs() as events:
        bench.note("a", "b", "c")
    assert logged(events) == ["c"]
    assert bench.count("logged_only") == 1
    await bench.trail.flush()
    assert await bench.saved() == ["a", "b"]


async def test_more_than_one_batch_is_saved_whole(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "BATCH", 2)
    bench.note(*"abcde")
    await bench.trail.flush()
    assert await bench.saved() == list("abcde")


async def test_who_shows_no_credentials_cannot_fill_the_trail(bench: Bench) -> None:
    for _ in range(1000):
        bench.trail.note(NOBODYS)
    bench.note("hers")
    await bench.trail.flush()
    saved = await bench.saved()
    assert "hers" in saved
    # One burst, and what came in while this was running.
    assert 300 <= len(saved) - 1 <= 400
    assert bench.count("left_out") == 1001 - len(saved)


async def test_entries_are_deleted_when_they_are_older_than_they_have_to_be_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "BATCH", 2)
    bench.note(*"abcde")
    bench.clock.shift = timedelta(days=29)
    bench.note("young")
    await bench.trail.flush()
    await bench.trail.forget_old()
    assert len(await bench.saved()) == 6
    bench.clock.shift = timedelta(days=31)
    await bench.trail.forget_old()
    assert await bench.saved() == ["young"]
