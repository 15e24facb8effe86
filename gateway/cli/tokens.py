"""Where the client's bearer token comes from: never an argument, those are public."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

TokenSource: TypeAlias = Callable[[], str]
"""Gives the token of the moment, for every call anew: tokens live for an hour, sessions longer."""

DEFAULT_TOKEN_ENV: Final = "EXECBROKER_TOKEN"  # noqa: S105  # the variable's name, not a secret
"""The environment variable that holds a token."""

TOKEN_FILE_ENV: Final = "EXECBROKER_TOKEN_FILE"  # noqa: S105  # the variable's name, not a secret
"""The environment variable that names a file with a token."""


class TokenError(ValueError):
    """There is no token where one should be; the text does not repeat what there is."""


class TokenFile:
    """A token in a file that an agent keeps fresh.

    Raises
    ------
    TokenError
        There is no such file, or no token in it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = self._read()

    def __call__(self) -> str:
        """The token as it is now; the last one, while the file is being replaced."""
        try:
            self._token = self._read()
        except TokenError:
            return self._token
        return self._token

    def _read(self) -> str:
        try:
            text = self._path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise TokenError(f"the token cannot be read from {self._path}") from error
        return checked(text.strip(), str(self._path))


def checked(token: str, place: str) -> str:
    """The token, if a header can carry it (RFC 6750 §2.1).

    Raises
    ------
    TokenError
        It cannot; the text names the place alone.
    """
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise TokenError(f"there is no bearer token in {place}")
    return token


def token_source(
    variable: str | None, file: Path | None, environ: Mapping[str, str]
) -> TokenSource | None:
    """Where arguments and environment say the token is; None: they say nothing.

    Parameters
    ----------
    variable
        The environment variable that an argument names.
    file
        The file that an argument names.

    Raises
    ------
    TokenError
        There is none where they say.
    """
    if file is None and variable is None:
        if environ.get(DEFAULT_TOKEN_ENV):
            variable = DEFAULT_TOKEN_ENV
        elif environ.get(TOKEN_FILE_ENV):
            file = Path(environ[TOKEN_FILE_ENV])
        else:
            return None
    if file is not None:
        return TokenFile(file)
    name = variable or DEFAULT_TOKEN_ENV
    token = checked(environ.get(name, ""), f"the environment variable {name}")
    return lambda: token
