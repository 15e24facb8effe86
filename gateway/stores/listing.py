"""Pages of offer sets and sessions, light: without what only a single one is read for.

Who goes on after a page says where it ended, not how much was seen: what comes in meanwhile moves
nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from gateway.stores.database import Transaction, from_micros, to_micros, to_texts
from gateway.wire.phases import SessionPhase


class Sort(StrEnum):
    """By what a list is sorted; a minus is newest first, as in JSON:API."""

    CREATED = "created"
    NEWEST = "-created"
    CHANGED = "changed"
    LATELY_CHANGED = "-changed"

    @property
    def is_falling(self) -> bool:
        """Whether the latest comes first."""
        return self.value.startswith("-")

    @property
    def by_change(self) -> bool:
        """Whether the last change counts, and not when it was made."""
        return self.value.endswith("changed")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a list something stands: by its instant, and among equals by its UUID."""

    at: datetime
    uuid: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is listed, and from where on; None is all.

    ``owner`` is empty for what is the administrator's. ``since`` is the first instant of making
    that counts, ``until`` the first that does not.
    """

    owner: str | None
    phases: tuple[SessionPhase, ...] = ()
    node: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    sort: Sort = Sort.NEWEST
    after: Place | None = None
    limit: int


@dataclass(frozen=True, slots=True)
class Clauses:
    """Parts of a query with their parameters."""

    wheres: tuple[str, ...]
    given: tuple[Any, ...]
    order: str

    def to_sql(self) -> str:
        """Conditions and order, for after the tables."""
        wheres = f"WHERE {' AND '.join(self.wheres)} " if self.wheres else ""
        return f"{wheres}ORDER BY {self.order} LIMIT ?"


def clauses_of(
    selection: Selection, *, owner: str, created: str, sorted_by: str, uuid: str
) -> Clauses:
    """The conditions that every list has, over columns of these names."""
    wheres: list[str] = []
    given: list[Any] = []
    for condition, value in (
        (f"{owner} = ?", selection.owner),
        (f"{created} >= ?", to_micros(selection.since) if selection.since else None),
        (f"{created} < ?", to_micros(selection.until) if selection.until else None),
    ):
        if value is not None:
            wheres.append(condition)
            given.append(value)
    if selection.after is not None:
        than = "<" if selection.sort.is_falling else ">"
        wheres.append(f"({sorted_by}, {uuid}) {than} (?, ?)")
        given += [to_micros(selection.after.at), str(selection.after.uuid)]
    way = "DESC" if selection.sort.is_falling else "ASC"
    return Clauses(tuple(wheres), tuple(given), f"{sorted_by} {way}, {uuid} {way}")


@dataclass(frozen=True, slots=True)
class ListedOfferSet:
    """One offer set in a list: what was asked (JSON), and how many of its offers are where.

    ``accepted`` is the session that came of it, if one did.
    """

    uuid: UUID
    owner: str
    created: datetime
    request: bytes
    phases: dict[SessionPhase, int]
    accepted: UUID | None


@dataclass(frozen=True, slots=True)
class ListedSession:
    """One session in a list; ``created`` is when its offer set was, ``document`` the node's."""

    uuid: UUID
    offerset: UUID
    node: str
    owner: str
    phase: SessionPhase
    asked: SessionPhase | None
    expires: datetime | None
    document: bytes
    created: datetime
    changed: datetime


EXECUTED: Final = "sessions.phase NOT IN ('INITIAL', 'OFFERED', 'REJECTED', 'EXPIRED')"
"""Sessions that were accepted at some time; the words of the index ``sessions_by_change``."""


class ListingStore:
    """Reads lists; writes nothing."""

    async def offersets(self, tx: Transaction, selection: Selection) -> list[ListedOfferSet]:
        """The offer sets of a page, with an offer at that node in one of those phases, if said."""
        clauses = clauses_of(
            selection,
            owner="offersets.owner",
            created="offersets.created",
            sorted_by="offersets.created",
            uuid="offersets.uuid",
        )
        offers, given = _conditions_on_sessions(selection)
        if offers:
            exists = (
                "EXISTS (SELECT 1 FROM sessions WHERE sessions.offerset = offersets.uuid "  # noqa: S608
                f"AND sessions.position IS NOT NULL AND {' AND '.join(offers)})"
            )
            clauses = Clauses((exists, *clauses.wheres), (*given, *clauses.given), clauses.order)
        rows = await tx.fetch(
            "SELECT uuid, owner, created, request FROM offersets "  # noqa: S608
            f"{clauses.to_sql()}",
            (*clauses.given, selection.limit),
        )
        phases, accepted = await self._offers_of(tx, [UUID(row["uuid"]) for row in rows])
        return [
            ListedOfferSet(
                uuid=UUID(row["uuid"]),
                owner=row["owner"],
                created=from_micros(row["created"]),
                request=row["request"],
                phases=phases.get(row["uuid"], {}),
                accepted=accepted.get(row["uuid"]),
            )
            for row in rows
        ]

    async def sessions(self, tx: Transaction, selection: Selection) -> list[ListedSession]:
        """The sessions of a page; without phases those that were accepted at some time."""
        clauses = clauses_of(
            selection,
            owner="sessions.owner",
            created="offersets.created",
            sorted_by="sessions.changed" if selection.sort.by_change else "offersets.created",
            uuid="sessions.uuid",
        )
        conditions, given = _conditions_on_sessions(selection)
        if not selection.phases:
            conditions.append(EXECUTED)
        clauses = Clauses(
            ("sessions.document IS NOT NULL", *conditions, *clauses.wheres),
            (*given, *clauses.given),
            clauses.order,
        )
        rows = await tx.fetch(
            "SELECT sessions.uuid, sessions.offerset, sessions.node, sessions.owner, "  # noqa: S608
            "sessions.phase, sessions.asked, sessions.expires, sessions.document, "
            "offersets.created, sessions.changed "
            "FROM sessions JOIN offersets ON offersets.uuid = sessions.offerset "
            f"{clauses.to_sql()}",
            (*clauses.given, selection.limit),
        )
        return [
            ListedSession(
                uuid=UUID(row["uuid"]),
                offerset=UUID(row["offerset"]),
                node=row["node"],
                owner=row["owner"],
                phase=SessionPhase(row["phase"]),
                asked=SessionPhase(row["asked"]) if row["asked"] else None,
                expires=None if row["expires"] is None else from_micros(row["expires"]),
                document=row["document"],
                created=from_micros(row["created"]),
                changed=from_micros(row["changed"]),
            )
            for row in rows
        ]

    async def _offers_of(
        self, tx: Transaction, offersets: Sequence[UUID]
    ) -> tuple[dict[str, dict[SessionPhase, int]], dict[str, UUID]]:
        """How many offers of these sets are in which phase, and which was accepted."""
        if not offersets:
            return {}, {}
        rows = await tx.fetch(
            "SELECT offerset, phase, count(*) AS n, "  # noqa: S608  # only marks
            f"min(CASE WHEN {EXECUTED} THEN uuid END) AS accepted FROM sessions "
            f"WHERE offerset IN ({','.join('?' * len(offersets))}) AND position IS NOT NULL "
            "GROUP BY offerset, phase ORDER BY offerset, phase",
            to_texts(offersets),
        )
        phases: dict[str, dict[SessionPhase, int]] = {}
        accepted: dict[str, UUID] = {}
        for row in rows:
            phases.setdefault(row["offerset"], {})[SessionPhase(row["phase"])] = row["n"]
            if row["accepted"] is not None:
                accepted[row["offerset"]] = UUID(row["accepted"])
        return phases, accepted


def _conditions_on_sessions(selection: Selection) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    given: list[Any] = []
    if selection.phases:
        marks = ",".join("?" * len(selection.phases))
        conditions.append(f"sessions.phase IN ({marks})")
        given += [phase.value for phase in selection.phases]
    if selection.node is not None:
        conditions.append("sessions.node = ?")
        given.append(selection.node)
    return conditions, given
