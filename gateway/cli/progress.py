"""A session that is followed: its phases as a bar, or a line each."""

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from gateway.cli.render import safe, show_messages
from gateway.wire.documents import Document
from gateway.wire.phases import EXECUTION_PHASES, TERMINAL_SESSION_PHASES, SessionPhase

_STEPS: Final = (SessionPhase.OFFERED, *EXECUTION_PHASES, SessionPhase.COMPLETED)


class PhaseProgress:
    """Follows one session: a bar on a terminal, elsewhere a line for every new phase."""

    def __init__(self, to: Console) -> None:
        self._console = to
        self._phase: str | None = None
        self._began = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description:<10}"),
                BarColumn(bar_width=40),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TimeElapsedColumn(),
                console=self._console,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=len(_STEPS))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, session: Document) -> None:
        """Takes in the session as it stands now."""
        phase = str(session.get("phase"))
        if phase == self._phase:
            return
        self._phase = phase
        done = [step.value for step in _STEPS].index(phase) + 1 if phase in _STEPS else None
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=safe(phase).plain, completed=done)
        else:
            took_s = time.monotonic() - self._began
            filled = "#" * done + "." * (len(_STEPS) - done) if done else " " * len(_STEPS)
            self._console.print(safe(f"  {filled} {took_s:5.1f} s  {phase}"))
        if phase in TERMINAL_SESSION_PHASES:
            show_messages(self._console, session)
