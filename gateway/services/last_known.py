"""Sessions as they were last shown here, for the time in which the database is away."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.stores.sessions import SessionRow
from gateway.wire.documents import Document
from gateway.wire.messages import message
from gateway.wire.phases import MessageLevel
from gateway.wire.times import format_instant

KEPT: Final = 500
"""Sessions remembered. Each has a document of some 15 KB, so it is 8 MB at most."""


@dataclass(frozen=True, slots=True)
class Memory:
    """A session as this process showed it ``at`` some time.

    It is no promise: what was done since then through another gateway does not show in it.
    """

    row: SessionRow
    at: datetime

    def remark(self, now: datetime) -> Document:
        """What whoever is shown this must know."""
        return message(
            "urn:database-away",
            MessageLevel.WARN,
            "The gateway's database does not answer; it said this ${age_s} s ago, at ${seen}",
            {
                "age_s": str(max(round((now - self.at).total_seconds()), 0)),
                "seen": format_instant(self.at.replace(microsecond=0)),
            },
            now,
        )


class LastKnown:
    """The last sessions that were shown, the oldest forgotten first."""

    def __init__(self) -> None:
        self._memories: OrderedDict[UUID, Memory] = OrderedDict()

    def note(self, row: SessionRow, now: datetime) -> None:
        """Remember what is shown; never an earlier state in place of a later one."""
        known = self._memories.get(row.uuid)
        if known is not None and known.row.changed > row.changed:
            return
        self._memories[row.uuid] = Memory(row, now)
        self._memories.move_to_end(row.uuid)
        if len(self._memories) > KEPT:
            self._memories.popitem(last=False)

    def find(self, uuid: UUID) -> Memory | None:
        """The session of that UUID, if it was shown lately."""
        return self._memories.get(uuid)
