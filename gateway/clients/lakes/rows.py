"""Reading what catalogues write: lines of JSON, and numbers that are not always whole."""

import asyncio
import math
from typing import Final, TypeVar

import msgspec

from gateway.clients.lakes.errors import LakeInvalidAnswerError

LARGE_BYTES: Final = 256 << 10
"""An answer of this size takes milliseconds to decode: it is done beside the loop."""

Number = int | float | None
"""Sums over PostgreSQL come as ``2340000000000.0``, over SQLite as integers."""

T = TypeVar("T")


async def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """One document.

    Raises
    ------
    LakeInvalidAnswerError
        It is not one, or not of that shape.
    """
    try:
        if len(body) < LARGE_BYTES:
            return decoder.decode(body)
        return await asyncio.to_thread(decoder.decode, body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LakeInvalidAnswerError(_NOT_JSON) from error


async def decode_lines(body: bytes, decoder: msgspec.json.Decoder[T]) -> list[T]:
    """A document on each line. One that cannot be read voids them all: the answer may be cut.

    Raises
    ------
    LakeInvalidAnswerError
        A line is none, or not of that shape.
    """
    try:
        if len(body) < LARGE_BYTES:
            return decoder.decode_lines(body)
        return await asyncio.to_thread(decoder.decode_lines, body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LakeInvalidAnswerError(_NOT_JSON) from error


def to_count(number: Number) -> int | None:
    """A size or a count; None for what can be neither."""
    if number is None or not math.isfinite(number) or number < 0:
        return None
    return int(number)


_NOT_JSON: Final = "it is not the JSON that was asked for, or not all of it"
