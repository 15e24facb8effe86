"""One schedule: a scenario played from its beginning, with the choices that were made for it."""

import asyncio
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final
from unittest import mock

from gateway.services import idempotency
from tests.model.gateways import Parts
from tests.model.loop import StuckLoopError
from tests.model.moves import Move, Moves
from tests.model.plays import Play
from tests.model.promises import Judge, Ledger
from tests.model.scenarios import Scenario, nodes_of, seed
from tests.model.store import SharedStore
from tests.model.world import World

MAX_STEPS: Final = 500
"""None has been seen to need three hundred; what goes on for longer does not come to rest."""


class Course(StrEnum):
    """How a schedule ends."""

    PLAYED = "played to its end"
    JOINED = "came to rest where another did"
    CUT = "went on as another"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a schedule came to.

    ``events`` is what happened, ``broken`` the promise that it breaks, if it does. ``key`` is the
    same for schedules that nobody can tell apart.
    """

    events: list[str]
    broken: str | None
    key: int
    course: Course
    told: list[str]


Chooser = Callable[[int, Moves], Move | None]
"""Which move is made at a step (from 0); None when there is none."""

Seen = Callable[[int, World, Moves, Ledger], Course | None]
"""Whether the state that a step led to is known, and need not be gone on from."""


def _never(_step: int, _world: World, _moves: Moves, _ledger: Ledger) -> None:
    return None


class Player:
    """Plays schedules of one scenario; ``parts`` may be those of a seeded bug."""

    def __init__(self, store: SharedStore, scenario: Scenario, parts: Parts) -> None:
        self._store = store
        self._scenario = scenario
        self._parts = parts

    def play(self, choose: Chooser, is_seen: Seen = _never) -> Outcome:
        """Play one schedule to its end, or to the first broken promise."""
        with self._store.undone(), self._parts.in_place(), _unspread(), _patient(), _abandoned():
            self._store.now(lambda tx: seed(tx, self._scenario))
            nodes = nodes_of(self._scenario)
            is_watched = self._scenario.is_watched
            world = World(self._store, nodes, self._parts, is_watched=is_watched)
            asyncio._set_running_loop(world.loop)
            try:
                return self._play(world, choose, is_seen)
            finally:
                world.close()
                asyncio._set_running_loop(None)

    def _play(self, world: World, choose: Chooser, is_seen: Seen) -> Outcome:
        ledger = self._scenario.ledger()
        play = Play(world, ledger)
        for name, script in self._scenario.scripts.items():
            world.add_client(name, partial(script, play))
        world.loop.run()
        moves = Moves(world, self._scenario.faults)
        judge = Judge(world, ledger)
        events: list[str] = []
        broken: str | None = None
        for step in range(MAX_STEPS):
            move = choose(step, moves)
            if move is None:
                for node in world.nodes.values():
                    node.expire(world.loop.now_s)
                broken = judge.at_rest()
                break
            events.append(move.text)
            try:
                moves.make(move)
            except StuckLoopError:
                broken = "a coroutine never waits"
                break
            broken = judge.after_event()
            if broken is not None:
                break
            if (course := is_seen(step, world, moves, ledger)) is not None:
                return Outcome(events, None, world.trace.key, course, ledger.log)
        else:
            broken = f"no rest after {MAX_STEPS} steps"
        return Outcome(events, broken, world.trace.key, Course.PLAYED, ledger.log)


@contextmanager
def _patient() -> Iterator[None]:
    """Who waits for another gateway's answer looks twice until that is taken for gone, not ten
    times: each look is two events, and would show what the one before has."""
    with mock.patch.object(idempotency, "LOOK_S", idempotency.GONE_S / 2):
        yield


@contextmanager
def _abandoned() -> Iterator[None]:
    """What generators of a killed gateway would still do at their end is not done by anybody."""
    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(finalizer=lambda _: None)
    try:
        yield
    finally:
        sys.set_asyncgen_hooks(*before)


@contextmanager
def _unspread() -> Iterator[None]:
    """Retries after the whole of their pause: chance has no part in a schedule."""
    with mock.patch.object(random, "uniform", lambda _low, high: high):
        yield
