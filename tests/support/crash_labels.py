"""A gateway that writes down every step it takes, and can be told to die at one of them.

A step is the service at work and the moment: around each commit, and around each exchange with a
node. Between two of these nothing lasting changes anywhere. A transaction that is killed before its
commit leaves what one leaves that never began, so its beginning is no step of its own.

Run by the nursery in place of ``gateway.__main__``; the product has no switches for it.
"""

import inspect
import os
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Final

from gateway.__main__ import main as serve
from gateway.clients.exchange import NodeError, Progress, Reply, Timeouts
from gateway.clients.lean.transport import LeanTransport
from gateway.httpkit import passwords
from gateway.stores.sqlite import SqliteTransaction
from tests.support.node import CHEAP_HASHER

LABELS: Final = "CRASH_LABELS"
"""Environment: the file that labels are written to, one a line, each before the step is taken."""

DIES_AT: Final = "CRASH_AT"
"""Environment: the label at which the process kills itself; none: it lives on."""

_SERVICES: Final = f"{os.sep}gateway{os.sep}services{os.sep}"
_GATEWAY: Final = f"{os.sep}gateway{os.sep}"


class Moment(StrEnum):
    """When, within a step."""

    BEFORE_COMMIT = "before-commit"
    COMMITTED = "committed"
    SENDING = "sending"
    ANSWERED = "answered"
    UNANSWERED = "unanswered"
    """The exchange came to no answer: refused, lost or too late."""


@dataclass(frozen=True, slots=True)
class Label:
    """One passage of one step: ``count`` is 1 for the first of a process."""

    place: str
    moment: Moment
    count: int

    def __str__(self) -> str:
        return f"{self.place}:{self.moment}#{self.count}"

    @property
    def step(self) -> str:
        """Without the count."""
        return f"{self.place}:{self.moment}"


def read_label(line: str) -> Label:
    """A label as it was written."""
    step, _, count = line.partition("#")
    place, _, moment = step.rpartition(":")
    return Label(place, Moment(moment), int(count))


class _Steps:
    """Notes each passage, and dies at the one that is named."""

    def __init__(self, path: Path, dies_at: str | None) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._dies_at = dies_at
        self._counts: Counter[tuple[str, Moment]] = Counter()

    def pass_by(self, moment: Moment) -> None:
        """Called from the step itself: what is at work is read off the stack."""
        place = _place(inspect.currentframe())
        self._counts[place, moment] += 1
        label = str(Label(place, moment, self._counts[place, moment]))
        os.write(self._file, f"{label}\n".encode())
        if label == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)


def _place(frame: FrameType | None) -> str:
    """The innermost function of a service on the stack; where there is none, of the gateway."""
    outside = "unknown"
    while frame is not None:
        code = frame.f_code
        if _SERVICES in code.co_filename:
            return code.co_qualname
        if outside == "unknown" and _is_caller(code.co_filename):
            outside = code.co_qualname
        frame = frame.f_back
    return outside


def _is_caller(filename: str) -> bool:
    is_passed_through = filename.endswith(("stores/sqlite.py", "clients/broker.py"))
    return _GATEWAY in filename and not is_passed_through


def _watch_commits(steps: _Steps) -> None:
    commit = SqliteTransaction.commit

    async def watched(tx: SqliteTransaction) -> None:
        if not (tx.has_begun or tx._waiting):
            return  # nothing was done, and nothing is sent
        steps.pass_by(Moment.BEFORE_COMMIT)
        await commit(tx)
        steps.pass_by(Moment.COMMITTED)

    SqliteTransaction.commit = watched  # type: ignore[assignment,method-assign]  # in this process only


def _watch_exchanges(steps: _Steps) -> None:
    exchange = LeanTransport.exchange

    async def watched(
        transport: LeanTransport,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        timeouts: Timeouts,
        progress: Progress | None = None,
    ) -> Reply:
        steps.pass_by(Moment.SENDING)
        try:
            reply = await exchange(
                transport, method, url, headers, body, timeouts=timeouts, progress=progress
            )
        except NodeError:
            steps.pass_by(Moment.UNANSWERED)
            raise
        steps.pass_by(Moment.ANSWERED)
        return reply

    LeanTransport.exchange = watched  # type: ignore[assignment,method-assign]  # in this process only


def _hash_cheaply() -> None:
    """Hashing a password takes a third of a second on purpose, and each start hashes one."""
    hasher = passwords.Passwords.__init__

    def cheap(made: passwords.Passwords, *_: object) -> None:
        hasher(made, CHEAP_HASHER)

    passwords.Passwords.__init__ = cheap  # type: ignore[assignment,method-assign]  # in this process only


def main(arguments: list[str] | None = None) -> int:
    """The gateway's own ``main``, watched."""
    steps = _Steps(Path(os.environ[LABELS]), os.environ.get(DIES_AT))
    _watch_commits(steps)
    _watch_exchanges(steps)
    _hash_cheaply()
    return serve(arguments)
