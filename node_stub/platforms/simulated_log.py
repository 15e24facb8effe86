"""The log of a simulated run: made up anew whenever it is read, the same each time. Pure."""

from typing import Final

_LINE_BYTES: Final = 32
"""Every line is as long, so that the one at any offset is known without those before it."""


def _dropped_line(dropped: int, limit: int) -> bytes:
    """What a log ends with of which some was dropped."""
    note = f"\n[{dropped} bytes more were dropped: a log holds {limit}]\n"
    return note.encode() if dropped else b""


def read_simulated_log(
    written: int, limit: int, offset: int, count: int, *, is_complete: bool
) -> bytes:
    """At most ``count`` bytes from ``offset`` on of a log of ``written`` bytes so far.

    Of a complete log the line that says what was dropped is part.
    """
    kept = min(written, limit)
    data = _text(offset, min(offset + count, kept))
    if is_complete and offset + count > kept:
        tail = _dropped_line(written - kept, limit)
        data += tail[max(0, offset - kept) : offset + count - kept]
    return data


def _text(start: int, stop: int) -> bytes:
    if start >= stop:
        return b""
    first = start // _LINE_BYTES
    lines = b"".join(
        b"simulated output, line %8d\n" % number
        for number in range(first + 1, stop // _LINE_BYTES + 2)
    )
    return lines[start - first * _LINE_BYTES : stop - first * _LINE_BYTES]
