"""What a request costs by how many nodes there are, and by how many sessions are kept already.

In one process and with simulated nodes (``inside``); told as a ratio to the least of the row.
"""

import argparse
import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final
from uuid import UUID, uuid4

from gateway.api.requests import OFFERS
from gateway.api.sessions import SESSIONS, UPDATES
from gateway.services.offers import OfferSetReading
from gateway.stores.database import Transaction
from gateway.stores.offersets import OfferSetRow, OfferSetStore
from gateway.stores.sessions import SessionRow, SessionStore
from gateway.stores.sqlite import SqliteDatabase
from gateway.wire.phases import SessionPhase
from tests.bench.federation import REQUEST
from tests.bench.figures import Figure
from tests.bench.inside import CALLER, Inside, inside
from tests.bench.stub_nodes import StubNode

_KEPT_OF_EACH: Final = 10
"""Sessions of each offer set that stands in the full database."""

_SETS_AT_ONCE: Final = 100
"""Offer sets in one transaction, while the database is filled."""

OFFERSETS: Final = OfferSetStore()
STORE: Final = SessionStore()

_NODES_OF_FULL: Final = 4
"""Nodes of the gateway with the full database: what it keeps matters there, not whom it asks."""


def figures(options: argparse.Namespace) -> Sequence[Figure]:
    """Both rows."""
    return [
        *asyncio.run(_by_nodes(options, is_wave=False)),
        *asyncio.run(_by_nodes(options, is_wave=True)),
        *asyncio.run(_by_sessions(options)),
    ]


async def _by_nodes(options: argparse.Namespace, *, is_wave: bool) -> Sequence[Figure]:
    """CPU for one request: for each node asked, or in waves for the whole of it."""
    rows: dict[int, list[float]] = {}
    for count in options.growth:
        async with inside(count, is_wave=is_wave) as it:
            times = max(1, options.asked // count)
            for _ in range(2):
                _check(await it.ask(), is_wave=is_wave)
            rows[count] = [
                await it.used_us(it.ask, times) / (1 if is_wave else count)
                for _ in range(options.rounds)
            ]
    least, *_ = sorted(rows)
    what = "request in waves" if is_wave else "node asked"
    return [
        Figure(
            f"cpu per {what}, {count} nodes",
            f"x {least} nodes",
            tuple(mine / base for mine, base in zip(rows[count], rows[least], strict=True)),
            note=f"{min(rows[count]):.0f} µs",
        )
        for count in rows
    ]


def _check(reading: OfferSetReading, *, is_wave: bool) -> None:
    """All nodes were asked, unless it goes in waves."""
    unasked = [entry for entry in reading.coverage if entry["outcome"] != "answered"]
    if unasked and not is_wave:
        message = f"not every node was asked: {unasked[:3]}"
        raise RuntimeError(message)


async def _by_sessions(options: argparse.Namespace) -> Sequence[Figure]:
    """CPU for asking, reading and accepting with so many sessions in the database."""
    rows: dict[tuple[str, int], list[float]] = {}
    async with inside(_NODES_OF_FULL) as it:
        kept = 0
        for count in (0, *options.sessions):
            await _fill(it, count - kept)
            kept = count
            for name, took_us in [
                one for _ in range(options.rounds) for one in await _round(it, options.reads)
            ]:
                rows.setdefault((name, count), []).append(took_us)
    return [
        Figure(
            f"cpu to {name}, {count} sessions",
            "x empty",
            tuple(mine / base for mine, base in zip(found, rows[name, 0], strict=True)),
            note=f"{min(found):.0f} µs",
        )
        for (name, count), found in rows.items()
        if count
    ]


async def _round(it: Inside, times: int) -> list[tuple[str, float]]:
    asked: list[OfferSetReading] = []

    async def ask() -> None:
        asked.append(await it.ask())

    found = [("ask", await it.used_us(ask, times))]
    best = iter([reading.sessions[0].row.uuid for reading in asked])
    sets = iter([reading.row.uuid for reading in asked])
    accepted = iter(list(islice(best, times)))

    async def accept() -> None:
        uuid = next(accepted)
        taken.append(uuid)
        await it.app[UPDATES].update(uuid, SessionPhase.ACCEPTED, CALLER)

    async def read() -> None:
        await it.app[SESSIONS].read(next(again), CALLER)

    async def read_set() -> None:
        await it.app[OFFERS].read(next(sets), CALLER)

    taken: list[UUID] = []
    found.append(("read an offer set", await it.used_us(read_set, times)))
    found.append(("accept", await it.used_us(accept, times)))
    again = iter(taken)
    found.append(("read a session", await it.used_us(read, times)))
    return found


async def _fill(it: Inside, count: int) -> None:
    """Keep so many more sessions that have ended, as those of the last weeks are."""
    document = StubNode(1).session(1.0, str(uuid4()), SessionPhase.COMPLETED.value)
    database = SqliteDatabase(it.database)
    await database.open()
    try:
        for _ in range(count // _KEPT_OF_EACH // _SETS_AT_ONCE):
            async with database.transaction() as tx:
                for _ in range(_SETS_AT_ONCE):
                    await _add_set(tx, document)
    finally:
        await database.close()


async def _add_set(tx: Transaction, document: bytes) -> None:
    now = datetime.now(UTC)
    offerset = OfferSetRow(uuid4(), "", now, REQUEST, b"{}", b"{}", b"[]")
    rows = [
        SessionRow(
            uuid=uuid4(),
            offerset=offerset.uuid,
            node="node-0000",
            owner="",
            position=position,
            phase=SessionPhase.COMPLETED,
            asked=None,
            expires=now,
            document=document,
            federation=b"{}",
            observed=now,
            changed=now,
        )
        for position in range(_KEPT_OF_EACH)
    ]
    await OFFERSETS.add(tx, offerset)
    await STORE.add(tx, rows)
    await STORE.add_components(tx, [(uuid4(), row.uuid) for row in rows for _ in range(5)])
