"""The gateway of the next version: this one, with one more step of the schema that takes long."""

import os
from typing import Final

from gateway.__main__ import main as serve
from gateway.stores import migrating
from gateway.stores.migrations import MIGRATIONS, OLDEST_PROGRAM
from tests.support.crash_labels import hash_cheaply

OLDEST: Final = "LATER_OLDEST_PROGRAM"
"""Environment: the oldest version of programs that the new schema leaves to work; none: all."""

ON_POSTGRES: Final = "LATER_ON_POSTGRES"
"""Environment: whether the database is PostgreSQL, which waits in other words."""

MIGRATES_S: Final = 1.5
"""About so long the new step keeps its tables from others, longer on a busy machine."""

_WAIT_ON_POSTGRES: Final = f"SELECT pg_sleep({MIGRATES_S})"
_WAIT_ON_SQLITE: Final = """
INSERT INTO later (at)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000)
SELECT max(i) FROM n
"""


def later_migration(*, is_postgres: bool) -> tuple[str, ...]:
    """What a version may do: it only adds, to tables that are in use as well."""
    return (
        "CREATE TABLE later (at INTEGER NOT NULL)",
        "ALTER TABLE sessions ADD COLUMN later INTEGER",
        "ALTER TABLE offersets ADD COLUMN later INTEGER",
        "CREATE INDEX sessions_by_later ON sessions (later)",
        _WAIT_ON_POSTGRES if is_postgres else _WAIT_ON_SQLITE,
    )


def main(arguments: list[str] | None = None) -> int:
    """The gateway's own ``main``, of that version."""
    later = later_migration(is_postgres=ON_POSTGRES in os.environ)
    # What the module itself goes by: in this process only.
    known = vars(migrating)
    known["MIGRATIONS"] = (*MIGRATIONS, later)
    known["OLDEST_PROGRAM"] = int(os.environ.get(OLDEST, OLDEST_PROGRAM))
    hash_cheaply()
    return serve(arguments)
