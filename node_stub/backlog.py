"""What came out of sessions and the archive cannot take yet: tried again and again, for a time."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from node_stub.config import ReconcilerSettings
from node_stub.lifecycle import unarchived
from node_stub.platforms.base import Observation, Unarchived
from node_stub.standing import Decision, Standing

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What is left of one session, how often it was tried, and until when it will be."""

    left: Unarchived
    until: datetime
    count: int = 1
    is_told: bool = False


class Backlog:
    """Sessions whose work is over and whose results have no room. The time is handed in."""

    def __init__(self, settings: ReconcilerSettings) -> None:
        self._settings = settings
        self._waiting: dict[UUID, _Waiting] = {}

    def failed(self, session: UUID, left: Unarchived, now: datetime) -> datetime:
        """There was no room, perhaps again; when to try next."""
        before = self._waiting.get(session)
        if before is None:
            waiting = _Waiting(left, now + timedelta(seconds=self._settings.archive_s))
        else:
            waiting = replace(before, left=left, count=before.count + 1)
        self._waiting[session] = waiting
        _log.warning(
            "results_unarchived",
            session=str(session),
            reason=left.detail,
            count=waiting.count,
            until=waiting.until.isoformat(),
        )
        wait = timedelta(seconds=self._settings.wait_s(waiting.count))
        return min(waiting.until, now + wait)

    def decision(
        self, session: UUID, standing: Standing, seen: Observation | None, now: datetime
    ) -> Decision | None:
        """What follows for a session; None if nothing of it waits."""
        found = self._waiting.get(session)
        if found is None:
            return None
        return unarchived(standing, found.left, found.until, seen, now, is_told=found.is_told)

    def told(self, session: UUID) -> None:
        """What was decided has been saved, and so the client knows."""
        if (found := self._waiting.get(session)) is not None:
            self._waiting[session] = replace(found, is_told=True)

    def forget(self, session: UUID) -> None:
        """Nothing of the session waits any longer."""
        self._waiting.pop(session, None)
