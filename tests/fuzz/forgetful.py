"""A target that forgets a promise: what the fuzzer has to find, or it finds nothing anywhere."""

from collections.abc import Iterator
from typing import Final

from gateway.wire.headers import parse_prefer

_LONG_S: Final = 5


def run(data: bytes) -> None:
    """Whoever waits longer breaks it."""
    assert (parse_prefer([data.decode("latin-1")]).wait_s or 0) < _LONG_S


def seeds() -> Iterator[bytes]:
    """One digit less."""
    yield b"wait=1"
