"""The places of one node: how many calls to it may be under way, and who waits for the next."""

import asyncio
from collections import deque
from enum import IntEnum, auto
from typing import Final

from gateway.clients.exchange import NodeTimeoutError, Stage
from gateway.domain.concurrency import ConcurrencyLimit

MAX_WAITING: Final = 1000
"""Calls that wait for one node; more are told at once that it is busy."""

RESERVED_SHARE: Final = 8
"""One place in so many is kept for commands, so that no rush for offers holds up an acceptance."""


class Lane(IntEnum):
    """What a call is for, those first that go first. Commands have places that offers never get.

    Whole numbers, as every call looks them up.
    """

    COMMANDS = auto()
    """Everything about one session: accepting, cancelling, reading."""
    OFFERS = auto()
    """Requests for offers."""


class NodePlaces:
    """Gives places. ``most`` bounds both lanes together, ``limit`` those of offers below that."""

    __slots__ = ("_commands", "_for_offers", "_limit", "_most", "_offers", "_waiting")

    def __init__(self, most: int, limit: ConcurrencyLimit) -> None:
        self._most = most
        self._for_offers = most - most // RESERVED_SHARE
        self._limit = limit
        self._offers = 0
        self._commands = 0
        self._waiting: dict[Lane, deque[asyncio.Future[None]]] = {lane: deque() for lane in Lane}

    @property
    def in_use(self) -> int:
        """Calls under way."""
        return self._offers + self._commands

    @property
    def waiting(self) -> int:
        """Calls that wait for a place."""
        return len(self._waiting[Lane.COMMANDS]) + len(self._waiting[Lane.OFFERS])

    @property
    def offers_at_once(self) -> int:
        """Places for requests for offers, now."""
        return min(self._limit.value, self._for_offers)

    async def take(self, lane: Lane, deadline: float, usual_s: float | None) -> None:
        """Take a place, waited for until ``deadline`` (event loop time) at most.

        ``usual_s`` is how long a request for offers keeps its place, if that is known: one that
        could not get a place in time by that is not kept waiting for it.

        Raises
        ------
        NodeTimeoutError
            None became free in time, or none would; nothing was sent.
        """
        queue = self._waiting[lane]
        if not queue and self._has_room(lane):
            self._occupy(lane, 1)
            return
        loop = asyncio.get_running_loop()
        is_hopeless = lane is Lane.OFFERS and self._is_hopeless(deadline - loop.time(), usual_s)
        if is_hopeless or len(queue) >= MAX_WAITING:
            raise NodeTimeoutError(Stage.QUEUED)
        place = loop.create_future()
        queue.append(place)
        try:
            async with asyncio.timeout_at(deadline):
                await place
        except TimeoutError as error:
            self._leave(lane, place)
            raise NodeTimeoutError(Stage.QUEUED) from error
        except asyncio.CancelledError:
            self._leave(lane, place)
            raise
        if loop.time() >= deadline:  # it came with everybody else's, when the time was over
            self.give_back(lane)
            raise NodeTimeoutError(Stage.QUEUED)

    def give_back(self, lane: Lane) -> None:
        """Let the next have the place."""
        self._occupy(lane, -1)
        self.hand_out()

    def hand_out(self) -> None:
        """Give what is free to those who wait, commands first."""
        for lane, queue in self._waiting.items():
            while queue and self._has_room(lane):
                place = queue.popleft()
                if not place.done():  # else it was cancelled, and has yet to notice
                    self._occupy(lane, 1)
                    place.set_result(None)

    def _has_room(self, lane: Lane) -> bool:
        if self._offers + self._commands >= self._most:
            return False
        return lane is Lane.COMMANDS or (
            self._offers < self._for_offers and self._offers < self._limit.value
        )

    def _occupy(self, lane: Lane, places: int) -> None:
        if lane is Lane.OFFERS:
            self._offers += places
        else:
            self._commands += places

    def _is_hopeless(self, left_s: float, usual_s: float | None) -> bool:
        if usual_s is None:
            return left_s <= 0
        ahead = len(self._waiting[Lane.OFFERS]) + 1
        return usual_s * ahead / max(1, self.offers_at_once) > left_s

    def _leave(self, lane: Lane, place: asyncio.Future[None]) -> None:
        """Nobody waits for it any longer: it goes to the next if it had come already."""
        if place.done() and not place.cancelled():
            self.give_back(lane)
        elif place in self._waiting[lane]:
            self._waiting[lane].remove(place)
