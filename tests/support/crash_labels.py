"""The steps that a program takes, written down as it takes them; it can be told to die at one.

A step is what is at work and the moment: around each commit, and around each call of another
program. Between two of these nothing lasting changes anywhere. A transaction that is killed before
its commit leaves what one leaves that never began, so its beginning is no step of its own.

The nursery runs ``crash_gateway`` and ``crash_node`` in place of the programs themselves, which
have no switches for it.
"""

import inspect
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Final

from gateway.httpkit import passwords
from tests.support.node import CHEAP_HASHER

LABELS: Final = "CRASH_LABELS"
"""Environment: the file that labels are written to, one a line, each before the step is taken."""

DIES_AT: Final = "CRASH_AT"
"""Environment: the label at which the process kills itself; none: it lives on."""

Place = Callable[[FrameType | None], str]
"""What is at work, read off the stack from this frame outwards."""


class Moment(StrEnum):
    """When, within a step."""

    BEFORE_COMMIT = "before-commit"
    COMMITTED = "committed"
    SENDING = "sending"
    ANSWERED = "answered"
    UNANSWERED = "unanswered"
    """The exchange came to no answer: refused, lost or too late."""
    CALLING = "calling"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True)
class Label:
    """One passage of one step: ``count`` is 1 for the first of a process."""

    place: str
    moment: Moment
    count: int

    def __str__(self) -> str:
        return f"{self.step}#{self.count}"

    @property
    def step(self) -> str:
        """Without the count."""
        return f"{self.place}:{self.moment}"


def read_label(line: str) -> Label:
    """A label as it was written."""
    step, _, count = line.partition("#")
    place, _, moment = step.rpartition(":")
    return Label(place, Moment(moment), int(count))


class Steps:
    """Notes each passage, and dies at the one that the environment names."""

    def __init__(self, place: Place) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(Path(os.environ[LABELS]), flags, 0o600)
        self._dies_at = os.environ.get(DIES_AT)
        self._place = place
        self._counts: Counter[str] = Counter()

    def pass_by(self, moment: Moment, what: str = "") -> None:
        """Called from the step itself; ``what`` tells apart what is done in the same place."""
        place = self._place(inspect.currentframe()) + what
        step = Label(place, moment, 0).step
        self._counts[step] += 1
        label = str(Label(place, moment, self._counts[step]))
        os.write(self._file, f"{label}\n".encode())
        if label == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)


def hash_cheaply() -> None:
    """Hashing a password takes a third of a second on purpose, and each start hashes one."""
    made_with = passwords.Passwords.__init__

    def cheap(made: passwords.Passwords, *_: object) -> None:
        made_with(made, CHEAP_HASHER)

    passwords.Passwords.__init__ = cheap  # type: ignore[assignment,method-assign]  # in this process only
