"""Kills at every step that a program takes: one run notes the steps, then each is killed at.

``CRASH_POINTS=all`` kills also at later passages of each step, and has every run played to its end.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.crash_labels import DIES_AT, LABELS, Label, read_label
from tests.support.nursery import Child, EndedAtStartError, Nursery
from tests.support.waiting import until

AT_ONCE: Final = 8
"""Runs at the same time: each waits most of its time, for offers to expire and sessions to end."""

IS_THOROUGH: Final = os.environ.get("CRASH_POINTS") == "all"

PASSAGES: Final = 4 if IS_THOROUGH else 1
"""How many passages of each step are killed at."""

TIMEOUT_S: Final = 1800 if IS_THOROUGH else 240
"""Sixty programs take a minute on two idle cores; four times as many, on busy ones, more."""

TRIES: Final = 5
"""How often a run is begun anew when its step did not come: some are taken by whoever is first."""

PAUSE_S: Final = 0.05
"""Between two looks at all sessions of a run: the others need the machine, too."""

SETTLED_S: Final = 20.0
"""Everything has come to its end long before."""


class Victim:
    """A program that notes its steps, and the first time it is started dies at one of them.

    Parameters
    ----------
    module
        One of the nursery's that notes its steps.
    folder
        Its data, with ``settings.yaml``.
    """

    def __init__(
        self,
        nursery: Nursery,
        module: str,
        folder: Path,
        environ: Mapping[str, str],
        dies_at: Label | None,
    ) -> None:
        self.url = ""
        self.starts = 0
        self._nursery = nursery
        self._module = module
        self._folder = folder
        self._environ = environ
        self._dies_at = dies_at
        self._child: Child | None = None

    async def start(self) -> None:
        """Start it, also again, until it listens, at whatever port."""
        try:
            await self._start()
        except EndedAtStartError:
            if self._dies_at is None or self.starts > 1:
                raise
            await self._start()

    async def _start(self) -> None:
        self.starts += 1
        given = {**self._environ, LABELS: str(self._labels(self.starts))}
        if self._dies_at is not None and self.starts == 1:
            given[DIES_AT] = str(self._dies_at)
        self._child = await self._nursery.start(self._module, self._folder, "127.0.0.1:0", given)
        self.url = self._child.url

    async def revive(self) -> None:
        """Start it again: whoever could not reach it knows that it has ended."""
        assert self._child is not None
        await until(self._child.has_ended)
        assert self.starts == 1, (self._folder / "log").read_text()[-2000:]
        await self.start()

    async def kill(self) -> None:
        """End it as a power cut would."""
        if self._child is not None:
            await self._child.kill()

    @property
    def was_killed(self) -> bool:
        """Whether it has died and been started again."""
        return self.starts > 1

    def labels(self) -> list[Label]:
        """The steps of the first process, in order; the last is the one it died at."""
        return [read_label(line) for line in self._labels(1).read_text().splitlines()]

    def _labels(self, start: int) -> Path:
        return self._folder / f"labels.{start}"


Play = Callable[[Path, Label | None], Awaitable[Victim]]
"""Plays a script in this folder, with a victim that dies there, and checks what has to hold."""


@dataclass(slots=True)
class Campaign:
    """Runs of one script, each in a folder of its own."""

    at: Path
    play: Play
    runs: int = 0
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def run(self, dies_at: Label | None = None) -> list[Label]:
        """Play the script once; the steps that were taken before the kill."""
        self.runs += 1
        folder = self.at / f"run-{self.runs}"
        folder.mkdir()
        try:
            victim = await self.play(folder, dies_at)
        except BaseException as error:
            error.add_note(f"killed at {dies_at}; data and log in {folder}")
            raise
        labels = victim.labels()
        assert (labels[-1] == dies_at) == victim.was_killed
        return labels

    async def kill_at(self, label: Label) -> bool:
        """Whether the program could be killed there."""
        for _ in range(TRIES):
            async with self.gate:
                if (await self.run(label))[-1] == label:
                    return True
        return False

    async def kill_everywhere(
        self, steps: frozenset[str], is_chosen: Callable[[Label], bool] = lambda _label: True
    ) -> None:
        """Kill at each step that the script comes to, these among them.

        ``is_chosen`` says which are enough where not all are to be killed at.
        """
        taken = {label for label in await self.run() if label.count <= PASSAGES}
        assert {label.step for label in taken} >= steps
        labels = {label for label in taken if IS_THOROUGH or is_chosen(label)}
        async with asyncio.TaskGroup() as group:
            tasks = {label: group.create_task(self.kill_at(label)) for label in labels}
        missed = {label for label, task in tasks.items() if not task.result()}
        print(f"killed at {len(labels) - len(missed)} labels in {self.runs} runs")
        # How often a step comes again depends on the time; each comes once at least.
        assert {label.step for label in missed if label.count == 1} == set()


async def play_parts(parts: Sequence[Callable[[], Awaitable[None]]], victim: Victim) -> None:
    """A script, part by part; after a kill one more part of it than was cut short will do."""
    left = len(parts)
    for part in parts:
        if left == 0:
            break
        await part()
        if victim.was_killed and not IS_THOROUGH:
            left = min(left, 2)
        left -= 1
