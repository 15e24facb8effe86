"""Knowing that a database is away, so that not everybody has to find out by waiting."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from gateway.errors import StoreUnavailableError

PAUSE_S: Final = 1.0
"""How long after a try in vain the next may come: as soon as clients are told to come back, at the
latest (``StoreUnavailableError``)."""

_log = structlog.stdlib.get_logger(__name__)


class Outage:
    """Whether the database was last seen to be away, and since when.

    While it is, one caller in ``PAUSE_S`` tries it and everybody else is refused at once: a
    minute's outage then costs each client a moment, and its return is met by one, not by all.

    Parameters
    ----------
    monotonic
        Gives seconds on a clock that never jumps.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since: float | None = None
        self._is_tried = False
        self._next_try = 0.0

    @property
    def is_on(self) -> bool:
        """Whether the database is thought to be away."""
        return self._since is not None

    def begin(self, why: str) -> None:
        """The database did not answer, or let nobody in."""
        now = self._monotonic()
        if self._since is None:
            self._since = self._next_try = now
            _log.error("database_away", why=why)
        if self._is_tried:
            self._next_try = now + PAUSE_S

    def end(self) -> None:
        """The database has answered."""
        if self._since is not None:
            _log.info("database_back", away_s=round(self._monotonic() - self._since, 1))
            self._since = None

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Around a try.

        Raises
        ------
        StoreUnavailableError
            The database is away, and somebody tries it just now or did a moment ago.
        """
        if self._since is None:
            yield
            return
        if self._is_tried or self._monotonic() < self._next_try:
            raise StoreUnavailableError
        self._is_tried = True
        try:
            yield
        finally:
            self._is_tried = False
