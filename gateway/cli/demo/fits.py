"""Writes one image as a FITS file (FITS standard 4.0), always with the same bytes.

A library would do as well, but not promise the bytes: comments and forms of numbers change.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES: Final = 2880
"""Header and data fill whole blocks of this size (section 3.1)."""

CARD_BYTES: Final = 80
"""Length of one line of the header (section 4.1)."""


@dataclass(frozen=True, slots=True)
class Card:
    """One line of the header: a name of at most 8 characters, what it is, and what that means."""

    name: str
    value: str | float | bool
    comment: str = ""

    def to_bytes(self) -> bytes:
        """In the fixed format (section 4.2): numbers end in column 30, texts begin in column 11.

        Raises
        ------
        ValueError
            It is longer than a line.
        """
        line = f"{self.name:<8}= {self._value()}"
        if self.comment:
            line += f" / {self.comment}"
        if len(line) > CARD_BYTES:
            raise ValueError(f"a FITS card of {len(line)} characters: {self.name}")
        return line.ljust(CARD_BYTES).encode("ascii")

    def _value(self) -> str:
        match self.value:
            case bool(value):
                return f"{'T' if value else 'F':>20}"
            case str(value):
                quoted = value.replace("'", "''")
                return f"'{quoted:<8}'".ljust(20)
            case number:
                return f"{number!r:>20}".upper()


def fits_file(values: NDArray[np.int16], cards: Iterable[Card]) -> bytes:
    """The file: ``values`` with their last axis as NAXIS1, and what the cards say of them."""
    sizes = (Card(f"NAXIS{i}", size) for i, size in enumerate(reversed(values.shape), start=1))
    every = [
        Card("SIMPLE", True, "FITS standard 4.0"),
        Card("BITPIX", 16),
        Card("NAXIS", values.ndim),
        *sizes,
        *cards,
    ]
    header = b"".join(card.to_bytes() for card in every) + b"END".ljust(CARD_BYTES)
    return _filled(header, b" ") + _filled(values.astype(">i2").tobytes(), b"\0")


def _filled(content: bytes, filler: bytes) -> bytes:
    return content + filler * (-len(content) % BLOCK_BYTES)
