"""Byte ranges of a request (RFC 9110 §14): pure, so that every edge can be tried."""

import re
from dataclasses import dataclass
from typing import Final

from gateway.wire.problem import ProblemError

_RANGE: Final = re.compile(
    r"bytes[ \t]*=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.ASCII | re.IGNORECASE
)


class RangeNotSatisfiableError(ProblemError):
    """Nothing of what is there lies in the range. ``size`` is of the whole, None if not known."""

    slug = "range-not-satisfiable"
    title = "Nothing lies in this range"
    status = 416

    def __init__(self, size: int | None) -> None:
        known = "" if size is None else f"; there are {size} bytes"
        headers = {} if size is None else {"Content-Range": f"bytes */{size}"}
        super().__init__(f"Nothing lies in this range{known}.", headers=headers)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from ``start`` up to, not including, ``stop``."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.stop - self.start

    def content_range(self, size: int | None) -> str:
        """The header ``Content-Range``; ``size`` of the whole, None if that is not known yet."""
        return f"bytes {self.start}-{self.stop - 1}/{'*' if size is None else size}"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """One range as it was asked for.

    ``first`` to ``last``, both included; without ``last`` to the end. Without ``first`` the last
    ``last`` bytes.
    """

    first: int | None
    last: int | None

    def within(self, size: int) -> Span:
        """What it is of so many bytes.

        Raises
        ------
        RangeNotSatisfiableError
        """
        if self.first is None:
            start, stop = max(0, size - (self.last or 0)), size
        else:
            start, stop = self.first, size if self.last is None else min(self.last + 1, size)
        if start >= stop:
            raise RangeNotSatisfiableError(size)
        return Span(start, stop)


def parse_range(value: str | None) -> ByteRange | None:
    """The range that a header asks for; None for none, and for what is ignored.

    Ignored are other units, several ranges at once, and what is no range (RFC 9110 §14.2 allows
    all of it): then the whole is the answer.
    """
    found = _RANGE.fullmatch(value or "")
    if found is None:
        return None
    first, last = (int(text) if text else None for text in found.groups())
    if first is None and last is None:
        return None
    if first is not None and last is not None and last < first:
        return None
    return ByteRange(first, last)
