"""The schema of the node's database: scripts that are run in order, forward only."""

from typing import Final

_FIRST: Final = """
CREATE TABLE offersets (
    uuid TEXT PRIMARY KEY,
    owner TEXT,
    result TEXT NOT NULL,
    messages BLOB NOT NULL,
    created INTEGER NOT NULL
) STRICT;
CREATE INDEX offersets_created ON offersets (created);

CREATE TABLE sessions (
    uuid TEXT PRIMARY KEY,
    offerset TEXT NOT NULL REFERENCES offersets (uuid) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    owner TEXT,
    phase TEXT NOT NULL,
    target TEXT NOT NULL,
    intent TEXT NOT NULL,
    intent_at INTEGER NOT NULL,
    components BLOB NOT NULL,
    document BLOB NOT NULL,
    slot BLOB,
    spans BLOB,
    start_at INTEGER,
    expires INTEGER,
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    messages BLOB NOT NULL
) STRICT;
CREATE INDEX sessions_offerset ON sessions (offerset, position);
CREATE INDEX sessions_phase ON sessions (phase, expires);
CREATE INDEX sessions_booked ON sessions (uuid) WHERE spans IS NOT NULL;
CREATE INDEX sessions_live ON sessions (uuid)
    WHERE intent <> 'DONE' AND phase NOT IN ('INITIAL', 'OFFERED', 'REJECTED', 'EXPIRED');

CREATE TABLE components (
    uuid TEXT PRIMARY KEY,
    session TEXT NOT NULL REFERENCES sessions (uuid) ON DELETE CASCADE
) STRICT;
CREATE INDEX components_session ON components (session);

CREATE TABLE checkpoints (
    session TEXT PRIMARY KEY,
    checkpoint BLOB NOT NULL
) STRICT;

CREATE TABLE idempotency (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    path TEXT NOT NULL,
    digest BLOB NOT NULL,
    result TEXT NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT;

CREATE TABLE identities (
    uuid TEXT PRIMARY KEY,
    username TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL
) STRICT;

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    session TEXT NOT NULL,
    owner TEXT,
    phase TEXT NOT NULL
) STRICT;
CREATE INDEX events_session ON events (session, id);
CREATE INDEX events_time ON events (time);
"""

_SECOND: Final = """
CREATE TABLE federation_requests (
    root TEXT PRIMARY KEY,
    key TEXT,
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE installation (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    identity TEXT NOT NULL,
    is_draining INTEGER NOT NULL
) STRICT;
"""

_THIRD: Final = """
ALTER TABLE identities ADD COLUMN member_of TEXT NOT NULL DEFAULT '[]';
ALTER TABLE identities ADD COLUMN is_revoked INTEGER NOT NULL DEFAULT 0;
CREATE TABLE revocations (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT;
"""

MIGRATIONS: Final[tuple[str, ...]] = (_FIRST, _SECOND, _THIRD)
"""Script N brings a database from version N to N + 1. Never change one that was released."""
