"""Which database a URL names."""

from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from gateway.settings import PostgresSettings
from gateway.stores.database import Database
from gateway.stores.sqlite import SqliteDatabase

_SQLITE: Final = "sqlite:///"
_POSTGRES: Final = "postgresql://"


def database_of(
    url: str,
    data_dir: Path,
    postgres: PostgresSettings | None = None,
    password: Callable[[], str] | None = None,
) -> Database:
    """The database that a URL names, not open yet; the name of a file is relative to ``data_dir``.

    ``password`` gives PostgreSQL's, which does not belong in the URL.

    Raises
    ------
    ValueError
        The URL is of no database that can be used; its text has no secret in it.
    """
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        return SqliteDatabase(data_dir / url.removeprefix(_SQLITE))
    if not url.startswith(_POSTGRES):
        raise ValueError("must be sqlite:///FILE or postgresql://USER@HOST/DATABASE")
    if _has_password(url):
        raise ValueError(
            "has a password in it: name a variable with database_password_env or a file with "
            "database_password_file"
        )
    try:
        from gateway.stores.postgres import PostgresDatabase  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ValueError(
            f"PostgreSQL needs the package {error.name}: pip install 'execbroker-gateway[postgres]'"
        ) from error
    return PostgresDatabase(url, postgres or PostgresSettings(), password)


def _has_password(url: str) -> bool:
    parts = urlsplit(url)
    return parts.password is not None or "password" in parse_qs(parts.query)
