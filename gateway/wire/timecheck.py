"""Checks and converts all times of a document in one go.

The usual forms go through msgspec's own parser, which takes a few more than the schema does; those
are found in the joined text. Whatever is unusual is judged one by one, by the schema's fields.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final, TypeAlias

import msgspec
from marshmallow import ValidationError, fields

from gateway.wire.compile import TimeTexts
from gateway.wire.schemas.fields import Duration, Instant, IntervalText
from gateway.wire.times import (
    Interval,
    TimeSyntaxError,
    parse_duration,
    parse_instant,
    parse_interval,
)

_Aware: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
_INSTANTS: Final = list[_Aware]
_DURATIONS: Final = list[timedelta]
_INSTANT: Final = Instant()
_DURATION: Final = Duration()
_INTERVAL: Final = IntervalText()


_ZERO: Final = timedelta(0)


@dataclass(frozen=True, slots=True)
class Times:
    """Reads the times of a document that has been checked: fast where all are of usual form."""

    are_usual: bool

    def instant(self, text: str) -> datetime:
        """The instant, in UTC.

        Raises
        ------
        TimeSyntaxError
            It passes the schema but is no instant.
        """
        # A usual one is what both parsers take; the offset may still lead out of the calendar.
        if self.are_usual and text[-1] == "Z":
            return datetime.fromisoformat(text)
        return parse_instant(text)

    def duration(self, text: str) -> timedelta:
        """The duration.

        Raises
        ------
        TimeSyntaxError
            It is in years or months, or negative.
        """
        if self.are_usual:
            duration: timedelta = msgspec.convert(text, timedelta)
            if duration >= _ZERO:
                return duration
        return parse_duration(text)

    def interval(self, text: str) -> Interval:
        """The interval.

        Raises
        ------
        TimeSyntaxError
            It passes the schema but is no interval.
        """
        first, _, second = text.partition("/")
        if not self.are_usual or second[0] != "P":
            return parse_interval(text)
        start = self.instant(first)
        try:
            return Interval(start, start + self.duration(second))
        except OverflowError as error:
            raise TimeSyntaxError(f"{text!r} leads out of the calendar") from error


def _are_usual(texts: TimeTexts) -> bool:
    """Whether all times are of the usual forms, and good."""
    instants = [text for text in texts.instants if text is not None]
    durations = [text for text in texts.durations if text is not None]
    for interval in texts.intervals:
        if interval is None:
            continue
        first, _, second = interval.partition("/")
        if first[-1:] != "Z":
            # Within intervals the schema is strict about offsets.
            return False
        instants.append(first)
        if second[:1] == "P":
            durations.append(second)
        elif second[-1:] == "Z":
            instants.append(second)
        else:
            return False
    joined = "".join(instants)
    # What msgspec takes for an instant and the schema does not.
    if "t" in joined or "z" in joined or " " in joined:
        return False
    joined = "".join(durations)
    # Lower case, a plus sign, a fraction of an hour.
    if "+" in joined or "." in joined or (joined and not joined.isupper()):
        return False
    try:
        msgspec.convert(instants, _INSTANTS)
        msgspec.convert(durations, _DURATIONS)
    except msgspec.ValidationError:
        return False
    return True


def _judge(declared: "fields.Field[str]", texts: Iterable[str | None]) -> None:
    for text in texts:
        if text is None:
            continue
        try:
            declared.deserialize(text)
        except ValidationError as error:
            raise TimeSyntaxError(f"{text[:80]!r}: {error.messages[0]}") from error


def check_times(texts: TimeTexts) -> Times:
    """What the times mean, all being as the schema says.

    Raises
    ------
    TimeSyntaxError
        One is not.
    """
    if _are_usual(texts):
        return Times(are_usual=True)
    _judge(_INSTANT, texts.instants)
    _judge(_DURATION, texts.durations)
    _judge(_INTERVAL, texts.intervals)
    return Times(are_usual=False)
