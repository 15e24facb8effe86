"""Logs: taken apart, and copied into files so that every reading gives the same."""

import itertools
import struct
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from node_stub.platforms.base import Stream
from node_stub.platforms.docker.logs import GAP_NOTE, Frames, Spool

PIECES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=20)


def framed(pieces: list[tuple[int, bytes]]) -> bytes:
    return b"".join(struct.pack(">BxxxL", number, len(data)) + data for number, data in pieces)


def of(stream: int, pieces: list[tuple[int, bytes]]) -> bytes:
    return b"".join(data for number, data in pieces if number == stream)


@given(PIECES, st.lists(st.integers(0, 400), max_size=8))
def test_however_a_log_is_cut_on_its_way_each_stream_arrives(
    pieces: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    data = framed(pieces)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    frames = Frames()
    found: dict[Stream, bytes] = {Stream.STDOUT: b"", Stream.STDERR: b""}
    for start, end in itertools.pairwise(places):
        for stream, parts in frames.feed(data[start:end]).items():
            found[stream] += b"".join(parts)
    assert found == {Stream.STDOUT: of(1, pieces), Stream.STDERR: of(2, pieces)}


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6), st.integers(1, 200))
def test_a_log_that_is_read_again_and_again_is_copied_once(
    tmp_path_factory: object, log: bytes, stops: list[int], limit: int
) -> None:
    # A stop is where a reading breaks off; each begins from the start again.
    path = Path(tmp_path_factory.mktemp("log")) / "stdout"  # type: ignore[attr-defined]
    spool = Spool(path, limit)
    for stop in [*stops, len(log)]:
        spool.begin()
        for start in range(0, stop, 7):
            spool.feed([log[start : min(start + 7, stop)]])
    spool.finish()
    written = path.read_bytes()
    assert written[:limit] == log[:limit]
    if len(log) <= limit:
        assert written == log
    else:
        assert f"at least {len(log) - limit} bytes" in written[limit:].decode()


def test_the_note_of_what_was_dropped_is_written_once(tmp_path: Path) -> None:
    for _ in range(3):
        spool = Spool(tmp_path / "stdout", 4)
        spool.begin()
        spool.feed([b"0123456789"])
        spool.finish()
    assert (tmp_path / "stdout").read_bytes().count(b"at least 6 bytes") == 1


def test_a_log_that_lost_its_beginning_goes_on_after_a_note(tmp_path: Path) -> None:
    path = tmp_path / "stdout"
    first = Spool(path, 1000)
    first.begin()
    first.feed([b"one\ntwo\nthree\n"])
    again = Spool(path, 1000)
    again.begin()
    again.feed([b"four\n"])
    again.feed([b"five\n"])
    assert path.read_bytes() == b"one\ntwo\nthree\n" + GAP_NOTE.encode() + b"four\nfive\n"
