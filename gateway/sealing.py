"""Secrets that the database keeps: readable with the gateway's own key alone."""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MIN_KEY_CHARACTERS: Final = 32
"""Of ``secret_key``: 128 bits as hexadecimal digits. It is stretched, not made stronger, here."""

_PURPOSE: Final = b"execbroker-gateway sealing 1"
_FORM: Final = b"\x01"
_NONCE_BYTES: Final = 12  # NIST SP 800-38D §8.2: 96 bits, random
_KEY_BYTES: Final = 32


class BrokenSealError(Exception):
    """It was sealed with another key or for another purpose, or has been changed since."""

    def __init__(self) -> None:
        super().__init__(
            "a secret in the database cannot be opened: it was sealed with another secret_key, "
            "or has been changed"
        )


class Sealer:
    """Seals small secrets with AES-256-GCM under a key derived from ``secret_key`` (RFC 5869).

    ``context`` says what a secret belongs to, such as ``webhook:UUID``. It is not kept, and has to
    be said again to open the seal: so nobody passes one row's secret off as another's.

    Raises
    ------
    ValueError
        The key is too short.
    """

    __slots__ = ("_aead",)

    def __init__(self, secret_key: str) -> None:
        if len(secret_key) < MIN_KEY_CHARACTERS:
            raise ValueError(f"must have at least {MIN_KEY_CHARACTERS} characters")
        derived = HKDF(SHA256(), _KEY_BYTES, salt=None, info=_PURPOSE).derive(secret_key.encode())
        self._aead = AESGCM(derived)

    def seal(self, secret: bytes, context: str) -> bytes:
        """The secret as it may be stored; different every time."""
        nonce = os.urandom(_NONCE_BYTES)
        return _FORM + nonce + self._aead.encrypt(nonce, secret, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """The secret again.

        Raises
        ------
        BrokenSealError
        """
        form, nonce, box = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if form != _FORM:
            raise BrokenSealError
        try:
            return self._aead.decrypt(nonce, box, context.encode())
        except (InvalidTag, ValueError) as error:
            raise BrokenSealError from error
