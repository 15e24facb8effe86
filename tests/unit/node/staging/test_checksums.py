"""Checksums: read in every usual spelling, computed piece by piece."""

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_stub.staging.checksums import Checksum


@given(st.lists(st.binary()))
def test_a_checksum_of_pieces_is_that_of_the_whole(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    for kind, value in {
        "md5": hashlib.md5(whole).hexdigest(),
        "sha256": hashlib.sha256(whole).hexdigest(),
        "adler32": f"{zlib.adler32(whole):08x}",
    }.items():
        checksum = Checksum.parse(kind, value)
        assert checksum is not None
        hasher = checksum.hasher()
        for piece in pieces:
            hasher.update(piece)
        assert hasher.hexdigest() == checksum.value


@pytest.mark.parametrize(
    ("kind", "value", "parsed"),
    [
        ("MD5", "D41D8CD98F00B204E9800998ECF8427E", ("md5", "d41d8cd98f00b204e9800998ecf8427e")),
        ("sha-256", "0" * 64, ("sha256", "0" * 64)),
        ("Adler32", "1c2d3e", ("adler32", "001c2d3e")),
        (" adler-32 ", " 0x11e60398 ", ("adler32", "11e60398")),
    ],
)
def test_usual_spellings_are_understood(kind: str, value: str, parsed: tuple[str, str]) -> None:
    assert Checksum.parse(kind, value) == Checksum(*parsed)


@pytest.mark.parametrize(
    ("kind", "value"),
    [("md5", "abc"), ("md5", "g" * 32), ("crc32", "00000000"), ("", ""), ("sha256", "é" * 64)],
)
def test_what_cannot_be_verified_is_no_checksum(kind: str, value: str) -> None:
    assert Checksum.parse(kind, value) is None
