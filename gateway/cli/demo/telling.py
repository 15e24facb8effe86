"""How the demo tells its story: headings, lists, and a timeline of what happens at once."""

import time
from collections.abc import Sequence
from textwrap import fill
from typing import Final

from rich.console import Console
from rich.text import Text

from gateway.cli import render

WIDTH: Final = 120
"""Columns where there is no terminal to ask."""


def step(to: Console, text: str) -> None:
    """A heading."""
    to.print()
    to.rule(text, align="left")


def tell_list(to: Console, title: str, lines: Sequence[str]) -> None:
    """A title, and lines below it that are broken where the screen ends."""
    to.print(render.safe(f"  {title}"))
    for line in lines:
        text = fill(line, to.width, initial_indent=" " * 5, subsequent_indent=" " * 7)
        to.print(render.safe(text))


class Timeline:
    """Lines with the seconds since it was made, from any number of tasks."""

    def __init__(self, to: Console) -> None:
        self._console = to
        self._began = time.monotonic()

    def phase(self, name: str) -> None:
        """Something reached a new phase."""
        self._tell(Text(name, style="bold"))

    def line(self, source: str, text: str) -> None:
        """A line that somebody wrote into a log."""
        self._tell(Text.assemble((f"{source:<9} │ ", "dim"), render.safe(text.rstrip())))

    def _tell(self, what: Text) -> None:
        took_s = time.monotonic() - self._began
        self._console.print(Text.assemble((f"  {took_s:5.1f} s  ", "dim"), what), soft_wrap=True)
