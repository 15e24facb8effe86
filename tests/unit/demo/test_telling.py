"""How the demo tells what happens: amounts, whole lines, nothing that could steer a terminal."""

import io
from collections.abc import AsyncIterator

import pytest

from gateway.cli import render
from gateway.cli.demo.following import lines_of
from gateway.cli.demo.telling import Timeline, megabytes


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (55_255, "55.3 kB"), (2_102_400, "2.1 MB")],
)
def test_an_amount_is_told_in_its_unit(size: int, text: str) -> None:
    assert megabytes(size) == text


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
