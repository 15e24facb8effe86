"""What is due when: each session at most once, never in two hands."""

import heapq
import math
from datetime import UTC, datetime
from uuid import UUID


class DueQueue:
    """Sessions by the time at which to look at them. Pure: the time is handed in."""

    def __init__(self) -> None:
        self._due: dict[UUID, datetime] = {}
        self._heap: list[tuple[datetime, UUID]] = []  # also entries that no longer count
        self._busy: dict[UUID, datetime | None] = {}

    def __len__(self) -> int:
        return len(self._due) + len(self._busy)

    def put(self, session: UUID, at: datetime) -> None:
        """Look at a session at this time, or sooner if that was wanted before.

        One that is looked at just now is looked at again.
        """
        if session in self._busy:
            before = self._busy[session]
            self._busy[session] = at if before is None else min(at, before)
            return
        before = self._due.get(session)
        if before is None or at < before:
            self._due[session] = at
            heapq.heappush(self._heap, (at, session))

    def put_all(self, at: datetime) -> None:
        """Look at every session at this time, or sooner if that was wanted before."""
        for session in list(self._due):
            self.put(session, at)

    def take(self, now: datetime) -> list[UUID]:
        """The sessions that are due; nobody else gets them until they are `done`."""
        taken = []
        while (due := self.next_due()) is not None and due <= now:
            _, session = heapq.heappop(self._heap)
            del self._due[session]
            self._busy[session] = None
            taken.append(session)
        return taken

    def done(self, session: UUID, again: datetime | None) -> None:
        """It was looked at; look again at this time, or sooner if that was wanted meanwhile."""
        wanted = self._busy.pop(session, None)
        for at in (wanted, again):
            if at is not None:
                self.put(session, at)

    def next_due(self) -> datetime | None:
        """When the next session is due."""
        while self._heap:
            at, session = self._heap[0]
            if self._due.get(session) == at:
                return at
            heapq.heappop(self._heap)
        return None


def next_tick(now: datetime, every_s: float) -> datetime:
    """The next multiple of the interval: sessions that are polled come due together, in one call.

    Never less than half an interval away.
    """
    ticks = math.ceil(now.timestamp() / every_s + 0.5)
    return datetime.fromtimestamp(ticks * every_s, UTC)
