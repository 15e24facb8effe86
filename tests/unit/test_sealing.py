"""Secrets that only the gateway itself can read again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sealing import BrokenSealError, Sealer

KEY = "0123456789abcdef" * 2
SEALER = Sealer(KEY)


@given(st.binary(max_size=200), st.text(max_size=20))
def test_what_is_sealed_can_be_opened_and_is_not_to_be_seen(secret: bytes, context: str) -> None:
    sealed = SEALER.seal(secret, context)
    assert Sealer(KEY).open(sealed, context) == secret
    assert len(secret) < 4 or secret not in sealed


def test_the_same_secret_looks_different_every_time() -> None:
    assert SEALER.seal(b"secret", "a") != SEALER.seal(b"secret", "a")


@pytest.mark.parametrize("at", [0, 1, 13, -1])
def test_a_changed_seal_is_not_opened(at: int) -> None:
    sealed = bytearray(SEALER.seal(b"secret", "a"))
    sealed[at] ^= 1
    with pytest.raises(BrokenSealError):
        SEALER.open(bytes(sealed), "a")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" + bytes(12), b"\x01" + bytes(20)])
def test_what_is_no_seal_is_not_opened(sealed: bytes) -> None:
    with pytest.raises(BrokenSealError):
        SEALER.open(sealed, "a")


def test_a_secret_is_not_opened_as_that_of_something_else() -> None:
    with pytest.raises(BrokenSealError):
        SEALER.open(SEALER.seal(b"secret", "webhook:1"), "webhook:2")


def test_a_secret_is_not_opened_with_another_key() -> None:
    with pytest.raises(BrokenSealError):
        Sealer("f" * 32).open(SEALER.seal(b"secret", "a"), "a")


def test_a_key_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 characters"):
        Sealer("short")
