"""Secrets: texts that are used and never shown."""

import time
from pathlib import Path
from typing import Final

import structlog

from gateway.wire.file_state import state_of

MAX_SECRET_BYTES: Final = 64 * 1024
"""A file named as a secret and larger than this is a mistake; private keys are a few kilobytes."""

LOOK_EVERY_S: Final = 1.0
"""How often a file is looked at again, at most: a secret that was replaced counts soon after."""

_HIDDEN: Final = "***"

_log = structlog.get_logger(__name__)


class UnusableSecretError(Exception):
    """A file has no secret in it; ``reason`` says why, in words that fit after its name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Secret:
    """A text that no log, message or representation shows.

    One that comes from a ``file`` (`secret_in_file`) is read again when the file has changed, so
    that it can be replaced without a restart; as long as the file cannot be used, the last text
    counts.
    """

    __slots__ = ("_file", "_looked", "_state", "_text")

    def __init__(self, text: str, file: Path | None = None) -> None:
        self._text = text
        self._file = file
        self._state = None if file is None else state_of(file)
        self._looked = time.monotonic()

    def reveal(self) -> str:
        """The text as it is now: to use, not to keep."""
        if self._file is not None and time.monotonic() - self._looked >= LOOK_EVERY_S:
            self._look_again(self._file)
        return self._text

    def _look_again(self, file: Path) -> None:
        self._looked = time.monotonic()
        state = state_of(file)
        if state == self._state:
            return
        try:
            self._text = _read(file)
        except UnusableSecretError as error:
            _log.warning("secret_not_usable", file=str(file), reason=error.reason)
        else:
            _log.info("secret_replaced", file=str(file))
        self._state = state

    def __repr__(self) -> str:
        return _HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        # The text may change, which is nothing to be hashed.
        return hash((Secret, self._file or self._text))


def secret_in_file(file: Path) -> Secret:
    """The secret in a file: its text without the line's end.

    Raises
    ------
    UnusableSecretError
    """
    return Secret(_read(file), file)


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_SECRET_BYTES + 1)
        text = raw.decode()
    except OSError as error:
        raise UnusableSecretError(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnusableSecretError("is not UTF-8 text") from error
    if len(raw) > MAX_SECRET_BYTES:
        raise UnusableSecretError(f"is larger than {MAX_SECRET_BYTES} bytes")
    text = text.rstrip("\r\n")
    if not text:
        raise UnusableSecretError("is empty")
    return text
