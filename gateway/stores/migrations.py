"""The schema of the gateway's database, as the steps that lead to it. Forward only; never edited.

Instants are microseconds since 1970, documents are JSON. ``owner`` is empty for the administrator's
account, which has no identity of its own.
"""

from typing import Final

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE offersets (
          uuid TEXT PRIMARY KEY,
          owner TEXT NOT NULL,
          created INTEGER NOT NULL,
          request BLOB NOT NULL,
          record BLOB NOT NULL,
          federation BLOB NOT NULL,
          messages BLOB NOT NULL,
          is_open INTEGER NOT NULL
        )
        """,
        # position: rank in the offer set from 1; NULL for a hold that was let go and is not shown.
        # asked: the phase this gateway has asked the node for, saved before the node is told.
        """
        CREATE TABLE sessions (
          uuid TEXT PRIMARY KEY,
          offerset TEXT NOT NULL REFERENCES offersets ON DELETE CASCADE,
          node TEXT NOT NULL,
          owner TEXT NOT NULL,
          position INTEGER,
          phase TEXT NOT NULL,
          asked TEXT,
          expires INTEGER,
          document BLOB,
          federation BLOB,
          observed INTEGER NOT NULL,
          changed INTEGER NOT NULL
        )
        """,
        "CREATE INDEX sessions_by_offerset ON sessions (offerset, position)",
        "CREATE INDEX sessions_by_phase ON sessions (phase, expires)",
        # Two clients may race for two offers of one set: the database lets one of them through.
        """
        CREATE UNIQUE INDEX one_accept_per_offerset ON sessions (offerset)
          WHERE asked = 'ACCEPTED'
        """,
        """
        CREATE TABLE components (
          uuid TEXT PRIMARY KEY,
          session TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE
        )
        """,
        "CREATE INDEX components_by_session ON components (session)",
        """
        CREATE TABLE commands (
          id INTEGER PRIMARY KEY,
          session TEXT NOT NULL UNIQUE REFERENCES sessions ON DELETE CASCADE,
          node TEXT NOT NULL,
          phase TEXT NOT NULL,
          attempts INTEGER NOT NULL,
          created INTEGER NOT NULL,
          due INTEGER NOT NULL,
          give_up INTEGER NOT NULL,
          fence INTEGER NOT NULL,
          last_error TEXT
        )
        """,
        "CREATE INDEX commands_by_due ON commands (due)",
        """
        CREATE TABLE idempotency (
          owner TEXT NOT NULL,
          path TEXT NOT NULL,
          key TEXT NOT NULL,
          digest TEXT NOT NULL,
          offerset TEXT NOT NULL,
          session TEXT,
          created INTEGER NOT NULL,
          PRIMARY KEY (owner, path, key)
        )
        """,
        "CREATE INDEX idempotency_by_offerset ON idempotency (offerset)",
        """
        CREATE TABLE identities (
          uuid TEXT PRIMARY KEY,
          username TEXT NOT NULL UNIQUE,
          password_hash TEXT NOT NULL,
          created INTEGER NOT NULL
        )
        """,
        """
        CREATE TABLE events (
          id INTEGER PRIMARY KEY,
          at INTEGER NOT NULL,
          what TEXT NOT NULL,
          session TEXT,
          offerset TEXT,
          who TEXT NOT NULL,
          detail TEXT NOT NULL
        )
        """,
        "CREATE INDEX events_by_session ON events (session)",
    ),
    (
        # How the node's document is turned back into what its client asked for; NULL: as it is.
        "ALTER TABLE sessions ADD COLUMN restoring BLOB",
    ),
    (
        # silent_since, silent_until: first and last seen to be silent. offerset: what is offered in
        # its place; successor: the one of these that is being accepted, or was.
        """
        CREATE TABLE resubmissions (
          session TEXT PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
          stage TEXT NOT NULL,
          generation INTEGER NOT NULL,
          attempts INTEGER NOT NULL,
          fence INTEGER NOT NULL,
          due INTEGER,
          silent_since INTEGER,
          silent_until INTEGER,
          offerset TEXT,
          successor TEXT,
          changed INTEGER NOT NULL,
          last_error TEXT
        )
        """,
        "CREATE INDEX resubmissions_by_due ON resubmissions (due)",
        # No session takes the place of two.
        "CREATE UNIQUE INDEX resubmissions_by_successor ON resubmissions (successor)",
    ),
    (
        # The oldest program that can use this version: see OLDEST_PROGRAM.
        "ALTER TABLE schema_version ADD COLUMN oldest_program INTEGER NOT NULL DEFAULT 1",
        # Who is answering the request of a key, and a number that grows while it is alive.
        "ALTER TABLE idempotency ADD COLUMN holder TEXT",
        "ALTER TABLE idempotency ADD COLUMN beats INTEGER NOT NULL DEFAULT 0",
    ),
)
"""One tuple of statements a version, the first is version 1.

They only add: tables, indexes, columns that may be left out. So programs of the version before go
on with the new schema until they are replaced. SQL that SQLite and PostgreSQL both have, but for
the types INTEGER and BLOB, which are translated.
"""

OLDEST_PROGRAM: Final = 1
"""The oldest version of programs that may use this schema. To be raised only when a migration takes
something away that they need; they then refuse to start."""
