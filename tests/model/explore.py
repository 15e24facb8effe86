"""Every schedule within a bound, each once; and walks beyond it.

A schedule is told by where it departs from the ordinary course: faults and interruptions cost one
each, and all schedules of up to ``bound`` of these are played, the cheapest first. So the first
one that breaks a promise is one of the shortest there is. It is played from its beginning each
time (coroutines cannot be copied). One that comes to a state that was gone on from before, for no
more, is left there: what follows has been tried.
"""

import gc
import random
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from tests.model.gateways import Parts
from tests.model.moves import Move, Moves
from tests.model.promises import Ledger
from tests.model.rest import rest_key
from tests.model.scenarios import Scenario
from tests.model.schedule import Course, Outcome, Player
from tests.model.store import SharedStore
from tests.model.world import World

Choices: TypeAlias = tuple[tuple[int, int], ...]
"""Steps at which another move than the first is made, in order, with the number of the move."""

ANY: Final = 9
"""More than any move costs."""

WALK_STEP: Final = 0.15
"""How often a random walk departs from the ordinary course: some five times in a schedule."""

COLLECT_EVERY: Final = 200
"""Schedules between two collections of garbage: each leaves cycles of some 100 KiB behind."""


@dataclass(slots=True)
class Counts:
    """What was explored.

    ``distinct`` schedules differ in what happened after what; ``joined`` of them came to rest where
    another had, and were not played on from there. ``same`` turned out not to differ, and ``cut``
    were left where they went on as another. ``depth`` is the most steps of one. All that cost up to
    ``complete`` were played; ``cpu_s`` is what it took.
    """

    distinct: int = 0
    joined: int = 0
    same: int = 0
    cut: int = 0
    depth: int = 0
    complete: int = -1
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A schedule that breaks a promise."""

    scenario: str
    choices: Choices
    outcome: Outcome


class Explorer:
    """Explores one scenario; ``parts`` may be those of a seeded bug."""

    def __init__(self, store: SharedStore, scenario: Scenario, parts: Parts | None = None) -> None:
        self._player = Player(store, scenario, parts or Parts())
        self._scenario = scenario
        self.counts = Counts()
        self._ends: set[int] = set()
        self._states: set[int] = set()
        self._played = 0

    def explore(self, bound: int, at_most: int) -> Finding | None:
        """Play everything up to ``bound``, or until ``at_most`` distinct schedules were played."""
        queues: list[deque[Choices]] = [deque() for _ in range(bound + 1)]
        queues[0].append(())
        with self._measured():
            for cost, queue in enumerate(queues):
                while queue and self.counts.distinct < at_most:
                    found = self._play(queue.popleft(), cost, queues)
                    if found is not None:
                        return found
                if queue:
                    return None
                self.counts.complete = cost
        return None

    def walk(self, seeds: range) -> Finding | None:
        """Play one schedule a seed, of any number of departures, as chance has it."""
        with self._measured():
            for seed in seeds:
                found = self._walk(random.Random(seed))
                if found is not None:
                    return found
        return None

    def replay(self, choices: Choices) -> Outcome:
        """Play one schedule again."""
        made = dict(choices)
        return self._player.play(lambda step, moves: _chosen(moves, made.get(step, 0)))

    def _walk(self, chance: random.Random) -> Finding | None:
        choices: list[tuple[int, int]] = []

        def choose(step: int, moves: Moves) -> Move | None:
            is_departing = chance.random() < WALK_STEP
            possible = moves.now(ANY if is_departing else 0)
            if not is_departing or len(possible) < 2:
                return possible[0] if possible else None
            choices.append((step, chance.randrange(1, len(possible))))
            return possible[choices[-1][1]]

        outcome = self._player.play(choose)
        return self._judged(tuple(choices), outcome)

    def _play(self, choices: Choices, cost: int, queues: list[deque[Choices]]) -> Finding | None:
        made = dict(choices)
        last = choices[-1][0] if choices else -1
        spare = len(queues) - 1 - cost

        def choose(step: int, moves: Moves) -> Move | None:
            if step <= last:
                return _chosen(moves, made.get(step, 0))
            possible = moves.now(spare)
            for number, move in enumerate(possible[1:], start=1):
                queues[cost + move.cost].append((*choices, (step, number)))
            return possible[0] if possible else None

        def is_seen(step: int, world: World, moves: Moves, ledger: Ledger) -> Course | None:
            if step < last:
                return None
            if not self._is_new((world.trace.key, moves.last)):
                return Course.CUT
            if world.is_idle and not self._is_new((rest_key(world), ledger.state())):
                return Course.JOINED
            return None

        return self._judged(choices, self._player.play(choose, is_seen))

    def _is_new(self, state: tuple[object, ...]) -> bool:
        key = hash(state)
        if key in self._states:
            return False
        self._states.add(key)
        return True

    def _judged(self, choices: Choices, outcome: Outcome) -> Finding | None:
        counts = self.counts
        self._played += 1
        if self._played % COLLECT_EVERY == 0:
            gc.collect()
        counts.depth = max(counts.depth, len(outcome.events))
        if outcome.course is Course.CUT:
            counts.cut += 1
        elif outcome.key in self._ends:
            counts.same += 1
        else:
            self._ends.add(outcome.key)
            counts.distinct += 1
            counts.joined += outcome.course is Course.JOINED
        if outcome.broken is None:
            return None
        return Finding(self._scenario.name, choices, outcome)

    @contextmanager
    def _measured(self) -> Iterator[None]:
        """Take the time, with garbage collected only now and then."""
        was_enabled = gc.isenabled()
        gc.disable()
        began = time.process_time()
        try:
            yield
        finally:
            self.counts.cpu_s += time.process_time() - began
            if was_enabled:
                gc.enable()


def _chosen(moves: Moves, number: int) -> Move | None:
    possible = moves.now(ANY if number else 0)
    return possible[number] if possible else None
