"""Whether somebody is shut out, asked of the store at most once a second for each."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.wire.identity import RevocationStore, Subject
from gateway.wire.problem import ProblemError

FRESH_S: Final = 1.0
"""So long after it was said elsewhere is a revocation seen here at the latest."""

LAST_KNOWN_S: Final = 300.0
"""So long is the last answer taken while the store is away. Nobody can be revoked then."""

REMEMBERED: Final = 10_000
"""Answers kept; those asked for longest ago go first."""


@dataclass(frozen=True, slots=True)
class _Answer:
    is_revoked: bool
    at: float


class Revocations:
    """Answers from the store, remembered for a moment.

    Parameters
    ----------
    monotonic
        Gives seconds on a clock that never jumps.
    """

    def __init__(
        self, store: RevocationStore, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.store = store
        self._monotonic = monotonic
        self._answers: OrderedDict[Subject, _Answer] = OrderedDict()

    async def is_revoked(self, subject: Subject) -> bool:
        """Whether this one is shut out.

        Raises
        ------
        ProblemError
            The store is away and nothing is known.
        """
        now = self._monotonic()
        known = self._answers.get(subject)
        if known is not None and now - known.at < FRESH_S:
            return known.is_revoked
        try:
            answer = await self.store.is_revoked(subject)
        except ProblemError:
            if known is None or now - known.at > LAST_KNOWN_S:
                raise
            return known.is_revoked
        self._answers[subject] = _Answer(answer, now)
        self._answers.move_to_end(subject)
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        return answer

    async def revoke(self, subject: Subject) -> None:
        """Shut somebody out, here at once."""
        await self.store.revoke(subject)
        self._answers.pop(subject, None)

    async def restore(self, subject: Subject) -> bool:
        """Let somebody in again, here at once; whether they were shut out."""
        was_revoked = await self.store.restore(subject)
        self._answers.pop(subject, None)
        return was_revoked
