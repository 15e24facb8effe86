"""Checksums that data is verified with: md5, sha256 and adler32."""

import hashlib
import re
import zlib
from dataclasses import dataclass
from typing import Final, Protocol

_DIGITS: Final = {"md5": 32, "sha256": 64, "adler32": 8}
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]+")


class Hasher(Protocol):
    """Takes bytes and gives their checksum."""

    def update(self, data: bytes, /) -> None:
        """Go on with these bytes."""
        ...

    def hexdigest(self) -> str:
        """The checksum of all bytes so far, in lower case."""
        ...


class _Adler32:
    """zlib's sum in the form of hashlib's."""

    def __init__(self) -> None:
        self._sum = 1

    def update(self, data: bytes, /) -> None:
        self._sum = zlib.adler32(data, self._sum)

    def hexdigest(self) -> str:
        return f"{self._sum:08x}"


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum in its usual spelling: a type in lower case, and hexadecimal digits."""

    type: str
    value: str

    @classmethod
    def parse(cls, kind: str, value: str) -> "Checksum | None":
        """The checksum that is meant; None if it is none that can be verified.

        Types are taken with or without hyphen and in any case; Rucio leaves out leading zeros of
        adler32.
        """
        name = kind.strip().lower().replace("-", "")
        digits = value.strip().lower()
        if name == "adler32":
            digits = digits.removeprefix("0x").rjust(8, "0")
        length = _DIGITS.get(name)
        if length is None or len(digits) != length or not _HEXADECIMAL.fullmatch(digits):
            return None
        return cls(name, digits)

    @property
    def is_strong(self) -> bool:
        """Whether nobody can make other data to a checksum that is given."""
        return self.type != "adler32"

    def hasher(self) -> Hasher:
        """What computes such a checksum."""
        if self.type == "adler32":
            return _Adler32()
        return hashlib.new(self.type, usedforsecurity=False)
