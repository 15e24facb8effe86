"""Nodes that registered, what was changed of any node, and who has watched over their leases.

A writing transaction locks the rows of a node first and the one of the watch last: see ``bump``.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gateway.domain.registration import MAX_CHANGES, MemberCause, MemberChange, NodeStanding
from gateway.stores.database import Row, Transaction, from_micros, to_micros
from gateway.wire.documents import Document, from_json, to_json

_WATCH: Final = 1
"""The id of the only row of the watch."""

_COLUMNS: Final = (
    "name, url, declared, credentials, registrant, token, registered, renewed, is_draining, "
    "silent_since, left_at, capabilities, digest, announced"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One registration.

    ``declared`` is what the node says of itself, and for whom it is. ``credentials`` are sealed.
    ``token`` is the UUID of the one it registered with, until it has renewed once. ``silent_since``
    is when its lease was found to be over. ``capabilities`` is the JSON as it was read,
    ``digest`` and ``announced`` the entity tags of that and of what the node has now.
    """

    name: str
    url: str
    declared: Document
    credentials: bytes
    registrant: str
    token: str | None
    registered: datetime
    renewed: datetime
    is_draining: bool
    silent_since: datetime | None
    left_at: datetime | None
    capabilities: bytes
    digest: str
    announced: str


@dataclass(frozen=True, slots=True)
class Watch:
    """``version`` grows with every change; since ``began`` leases were watched, last ``seen``."""

    version: int = 0
    began: datetime | None = None
    seen: datetime | None = None


def _time(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def _micros(instant: datetime | None) -> int | None:
    return None if instant is None else to_micros(instant)


def _from_row(row: Row) -> NodeRow:
    return NodeRow(
        name=row["name"],
        url=row["url"],
        declared=from_json(row["declared"]),
        credentials=row["credentials"],
        registrant=row["registrant"],
        token=row["token"],
        registered=from_micros(row["registered"]),
        renewed=from_micros(row["renewed"]),
        is_draining=bool(row["is_draining"]),
        silent_since=_time(row["silent_since"]),
        left_at=_time(row["left_at"]),
        capabilities=row["capabilities"],
        digest=row["digest"],
        announced=row["announced"],
    )


class NodeStore:
    """Registrations by the name of the node."""

    async def watch(self, tx: Transaction, *, keep: bool = False) -> Watch:
        """The watch as it is; ``keep`` lets nobody else change it in this transaction."""
        lock = tx.for_update if keep else ""
        row = await tx.fetch_one(
            f"SELECT version, began, seen FROM node_watch WHERE id = ?{lock}",  # noqa: S608
            (_WATCH,),
        )
        if row is None:
            return Watch()
        return Watch(row["version"], _time(row["began"]), _time(row["seen"]))

    async def note_watch(self, tx: Transaction, *, began: datetime, seen: datetime) -> None:
        """Leases are watched since ``began``, and still were at ``seen``."""
        await tx.execute(
            "INSERT INTO node_watch (id, version, began, seen) VALUES (?, 0, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET began = excluded.began, seen = excluded.seen",
            (_WATCH, to_micros(began), to_micros(seen)),
        )

    async def bump(self, tx: Transaction) -> None:
        """Tell every gateway that some node has changed: the last thing a transaction does."""
        await tx.execute(
            "INSERT INTO node_watch (id, version) VALUES (?, 1) "
            "ON CONFLICT (id) DO UPDATE SET version = node_watch.version + 1",
            (_WATCH,),
        )

    async def all(self, tx: Transaction) -> list[NodeRow]:
        """Every registration, by name."""
        rows = await tx.fetch(f"SELECT {_COLUMNS} FROM nodes ORDER BY name")  # noqa: S608
        return [_from_row(row) for row in rows]

    async def renewals(self, tx: Transaction) -> dict[str, datetime]:
        """When each node renewed last."""
        rows = await tx.fetch("SELECT name, renewed FROM nodes")
        return {row["name"]: from_micros(row["renewed"]) for row in rows}

    async def find(self, tx: Transaction, name: str, *, keep: bool = False) -> NodeRow | None:
        """The registration of that name; ``keep`` lets nobody else change it meanwhile."""
        lock = tx.for_update if keep else ""
        row = await tx.fetch_one(
            f"SELECT {_COLUMNS} FROM nodes WHERE name = ?{lock}",  # noqa: S608
            (name,),
        )
        return None if row is None else _from_row(row)

    async def add(self, tx: Transaction, row: NodeRow) -> bool:
        """Save a new registration; False where there is one of that name."""
        added = await tx.execute(
            f"INSERT INTO nodes ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?) "  # noqa: S608
            "ON CONFLICT (name) DO NOTHING",
            _values(row),
        )
        return added == 1

    async def save(self, tx: Transaction, row: NodeRow) -> None:
        """Save a registration as it is now, in place of what was kept of it."""
        names = _COLUMNS.split(", ")[1:]
        assignments = ", ".join(f"{name} = ?" for name in names)
        values = _values(row)
        await tx.execute(
            f"UPDATE nodes SET {assignments} WHERE name = ?",  # noqa: S608  # constants
            (*values[1:], values[0]),
        )

    async def renew(
        self, tx: Transaction, name: str, *, now: datetime, is_draining: bool, announced: str
    ) -> None:
        """The node is there: what it registered with can be used no more, nor is it silent."""
        await tx.execute(
            "UPDATE nodes SET renewed = ?, is_draining = ?, announced = ?, silent_since = NULL, "
            "token = NULL WHERE name = ?",
            (to_micros(now), int(is_draining), announced, name),
        )

    async def outdated(self, tx: Transaction) -> list[tuple[str, str, str]]:
        """Nodes whose capabilities have changed since they were read: name, URL, new digest."""
        rows = await tx.fetch(
            "SELECT name, url, announced FROM nodes "
            "WHERE announced <> digest AND left_at IS NULL AND silent_since IS NULL"
        )
        return [(row["name"], row["url"], row["announced"]) for row in rows]

    async def forget_left(
        self, tx: Transaction, before: datetime, terminal: tuple[str, ...]
    ) -> list[str]:
        """Delete nodes that left before, and have no session that is not over; their names.

        ``terminal`` are the phases of those that are.
        """
        marks = ", ".join("?" * len(terminal))
        rows = await tx.fetch(
            "DELETE FROM nodes WHERE left_at < ? "  # noqa: S608  # marks alone
            f"AND NOT EXISTS (SELECT 1 FROM sessions WHERE node = nodes.name "
            f"AND phase NOT IN ({marks})) "
            "AND NOT EXISTS (SELECT 1 FROM commands WHERE node = nodes.name) "
            "AND NOT EXISTS (SELECT 1 FROM unkept_holds WHERE node = nodes.name) RETURNING name",
            (to_micros(before), *terminal),
        )
        names = [row["name"] for row in rows]
        for table in ("node_overlays", "node_changes"):
            await tx.execute_many(
                f"DELETE FROM {table} WHERE node = ?",  # noqa: S608
                [(name,) for name in names],
            )
        return names

    async def overlays(self, tx: Transaction) -> dict[str, Document]:
        """What was changed of each node."""
        rows = await tx.fetch("SELECT node, overlay FROM node_overlays")
        return {row["node"]: from_json(row["overlay"]) for row in rows}

    async def overlay(self, tx: Transaction, node: str) -> Document:
        """What was changed of one node, which nobody else may change meanwhile."""
        row = await tx.fetch_one(
            f"SELECT overlay FROM node_overlays WHERE node = ?{tx.for_update}",  # noqa: S608
            (node,),
        )
        return {} if row is None else from_json(row["overlay"])

    async def save_overlay(self, tx: Transaction, node: str, overlay: Document) -> None:
        """Keep what was changed of a node."""
        await tx.execute(
            "INSERT INTO node_overlays (node, overlay) VALUES (?, ?) "
            "ON CONFLICT (node) DO UPDATE SET overlay = excluded.overlay",
            (node, to_json(overlay)),
        )

    async def add_change(self, tx: Transaction, node: str, change: MemberChange) -> None:
        """Append to a node's record, which keeps the last ``MAX_CHANGES``."""
        await tx.execute(
            "INSERT INTO node_changes (node, at, state, cause) VALUES (?, ?, ?, ?)",
            (node, to_micros(change.at), change.state.value, change.cause.value),
        )
        await tx.execute(
            "DELETE FROM node_changes WHERE node = ? AND id NOT IN "
            "(SELECT id FROM node_changes WHERE node = ? ORDER BY id DESC LIMIT ?)",
            (node, node, MAX_CHANGES),
        )

    async def changes(self, tx: Transaction) -> dict[str, tuple[MemberChange, ...]]:
        """Every node's record, the newest first."""
        rows = await tx.fetch("SELECT node, at, state, cause FROM node_changes ORDER BY id DESC")
        found: dict[str, list[MemberChange]] = {}
        for row in rows:
            change = MemberChange(
                from_micros(row["at"]), NodeStanding(row["state"]), MemberCause(row["cause"])
            )
            found.setdefault(row["node"], []).append(change)
        return {node: tuple(changes) for node, changes in found.items()}


def _values(row: NodeRow) -> tuple[Any, ...]:
    return (
        row.name,
        row.url,
        to_json(row.declared),
        row.credentials,
        row.registrant,
        row.token,
        to_micros(row.registered),
        to_micros(row.renewed),
        int(row.is_draining),
        _micros(row.silent_since),
        _micros(row.left_at),
        row.capabilities,
        row.digest,
        row.announced,
    )
