"""Byte ranges: the same as slicing, and everything odd ignored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.httpkit.ranges import ByteRange, RangeNotSatisfiableError, Span, parse_range

NUMBERS = st.integers(min_value=0, max_value=60)


@given(data=st.binary(max_size=50), first=NUMBERS, last=st.none() | NUMBERS)
def test_a_range_is_a_slice(data: bytes, first: int, last: int | None) -> None:
    wanted = data[first:] if last is None else data[first : last + 1]
    text = f"bytes={first}-{'' if last is None else last}"
    found = parse_range(text)
    if last is not None and last < first:
        assert found is None
        return
    assert found == ByteRange(first, last)
    if not wanted:
        with pytest.raises(RangeNotSatisfiableError) as refused:
            found.within(len(data))
        assert refused.value.headers == {"Content-Range": f"bytes */{len(data)}"}
        return
    span = found.within(len(data))
    assert data[span.start : span.stop] == wanted
    assert span.length == len(wanted)
    assert span.content_range(len(data)).endswith(f"/{len(data)}")


@given(data=st.binary(max_size=50), count=NUMBERS)
def test_a_suffix_is_the_end(data: bytes, count: int) -> None:
    found = parse_range(f"bytes=-{count}")
    assert found == ByteRange(None, count)
    wanted = data[-count:] if count else b""
    if not wanted:
        with pytest.raises(RangeNotSatisfiableError):
            found.within(len(data))
        return
    span = found.within(len(data))
    assert data[span.start : span.stop] == wanted


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "bytes=2-1", "lines=0-1"),
        *("bytes=0-1,3-4", "bytes=--1", "bytes=0x1-2", "bytes=1.0-2", "bytes=٣-٤", "bytes=0-1;"),
        "bytes=" + "9" * 19 + "-",
    ],
)
def test_what_is_no_single_range_of_bytes_is_ignored(text: str | None) -> None:
    assert parse_range(text) is None


@given(text=st.text(max_size=30))
def test_no_header_breaks_the_parser(text: str) -> None:
    parse_range(text)
    parse_range(f"bytes={text}")


def test_spelling_may_vary() -> None:
    assert parse_range("Bytes = 0-9 ") == ByteRange(0, 9)


def test_the_end_may_be_unknown() -> None:
    assert Span(5, 10).content_range(None) == "bytes 5-9/*"
