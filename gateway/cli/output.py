"""Where a command's results and remarks go, and the exit codes that say how it went."""

import re
from dataclasses import dataclass
from typing import Final, TextIO

from rich.console import Console

from gateway.cli import render
from gateway.wire.documents import to_json

OK: Final = 0
"""Done."""
REFUSED: Final = 1
"""The broker said no, or the session did not complete."""
USAGE: Final = 2
"""The command, its file or its environment is wrong; nothing was sent."""
UNAVAILABLE: Final = 3
"""No broker answered, or it cannot answer now: the same command may work later."""
INTERRUPTED: Final = 130
"""Stopped from the keyboard; a session that runs goes on running."""

_COLOURS: Final = re.compile(r"(\x1b\[[0-9;]*m)")
_MOVES: Final = frozenset("\n\r\t")


@dataclass(frozen=True, slots=True)
class Output:
    """Where results and remarks go."""

    out: TextIO
    err: TextIO
    is_json: bool

    @property
    def tables(self) -> Console:
        """For results that people read."""
        return render.console(self.out)

    def result(self, document: object) -> None:
        """One line of JSON."""
        self.out.write(to_json(document).decode() + "\n")
        self.out.flush()

    def remark(self, text: str) -> None:
        """Something to know, beside the result."""
        render.console(self.err).print(render.safe(text), soft_wrap=True)

    def log(self, text: str) -> None:
        """A piece of a log. A terminal gets its text and colours; nothing else can steer it."""
        if self.is_json:
            self.result({"text": text})
            return
        self.out.write(_harmless(text) if self.out.isatty() else text)
        self.out.flush()


def _harmless(text: str) -> str:
    """Text and colours alone."""
    return "".join(
        part if number % 2 else "".join(c if c.isprintable() or c in _MOVES else "?" for c in part)
        for number, part in enumerate(_COLOURS.split(text))
    )
