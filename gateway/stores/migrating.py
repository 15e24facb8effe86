"""Bringing a database to this program's schema, in one transaction that keeps others out."""

from collections.abc import Callable

from gateway.stores.database import Transaction
from gateway.stores.migrations import MIGRATIONS, OLDEST_PROGRAM


class SchemaTooNewError(Exception):
    """The database belongs to later programs, which keep in it what this one would not respect."""

    def __init__(self, version: int, oldest_program: int) -> None:
        super().__init__(
            f"the database has schema version {version}, for programs of version {oldest_program} "
            f"and later; this program knows version {len(MIGRATIONS)}: install a later one, or "
            "give it a database of its own"
        )


async def migrate(tx: Transaction, translated: Callable[[str], str]) -> None:
    """Run the migrations that the database has not seen; ``translated`` gives the engine's words.

    Raises
    ------
    SchemaTooNewError
        It has seen later ones that this program could not live with.
    """
    await tx.execute(
        translated("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
    )
    row = await tx.fetch_one("SELECT max(version) AS version FROM schema_version")
    version = 0 if row is None or row["version"] is None else int(row["version"])
    if version > len(MIGRATIONS):
        await _check_readable(tx, version)
        return
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        for statement in statements:
            await tx.execute(translated(statement))
        await tx.execute("INSERT INTO schema_version (version) VALUES (?)", (number,))
    await tx.execute(
        "UPDATE schema_version SET oldest_program = ? WHERE version = ?",
        (OLDEST_PROGRAM, len(MIGRATIONS)),
    )


async def _check_readable(tx: Transaction, version: int) -> None:
    row = await tx.fetch_one("SELECT max(oldest_program) AS oldest FROM schema_version")
    oldest_program = 1 if row is None else int(row["oldest"])
    if oldest_program > len(MIGRATIONS):
        raise SchemaTooNewError(version, oldest_program)
