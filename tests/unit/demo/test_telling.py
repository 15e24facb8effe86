"""How the demo tells what happens: lists, whole lines, nothing that could steer a terminal."""

import io
from collections.abc import AsyncIterator

import pytest

from gateway.cli import render
from gateway.cli.demo.following import lines_of
from gateway.cli.demo.telling import Timeline, tell_list


def test_lines_of_a_list_are_broken_where_the_screen_ends() -> None:
    out = io.StringIO()
    to = render.console(out)
    to.width = 24
    tell_list(to, "A title", ["words that do not fit a line"])
    title, first, *rest = out.getvalue().splitlines()
    assert (title, first) == ("  A title", "     words that do not")
    assert rest == ["       fit a line"]


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([], []),
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"o", b"ne\nt", b"wo"], ["one", "two"]),
        ([b"caf\xc3", b"\xa9\n"], ["café"]),
        ([b"\xff\n"], ["�"]),
    ],
)
async def test_a_log_is_told_in_whole_lines(pieces: list[bytes], lines: list[str]) -> None:
    async def log() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    assert [line async for line in lines_of(log())] == lines


def test_what_a_job_writes_cannot_steer_the_terminal() -> None:
    out = io.StringIO()
    timeline = Timeline(render.console(out))
    timeline.phase("RUNNING")
    timeline.line("stdout", "all\x1b[2Jclear [bold]text[/bold]")
    first, second = out.getvalue().splitlines()
    assert first.endswith("s  RUNNING")
    assert second.endswith("s  stdout    │ all?[2Jclear [bold]text[/bold]")
