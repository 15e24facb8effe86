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
    (
        # Version 5: registration, identities, drafts, templates, events, audit.
        # declared: what the node says of itself, and whom its token is for. credentials: what the
        # gateway is to use there, sealed. token: by which it registered, until it has renewed once.
        # announced: digest of its capabilities by its own word; digest: of what was read.
        """
        CREATE TABLE nodes (
          name TEXT PRIMARY KEY,
          url TEXT NOT NULL,
          declared BLOB NOT NULL,
          credentials BLOB NOT NULL,
          registrant TEXT NOT NULL,
          token TEXT,
          registered INTEGER NOT NULL,
          renewed INTEGER NOT NULL,
          is_draining INTEGER NOT NULL,
          silent_since INTEGER,
          left_at INTEGER,
          capabilities BLOB NOT NULL,
          digest TEXT NOT NULL,
          announced TEXT NOT NULL
        )
        """,
        # Outlives the registration: whoever left may come back under the same name. granted: the
        # owners and groups whom it is for, by the token it registered with.
        """
        CREATE TABLE node_credentials (
          node TEXT PRIMARY KEY,
          digest TEXT NOT NULL UNIQUE,
          granted BLOB NOT NULL,
          created INTEGER NOT NULL
        )
        """,
        # What the administrator has changed of a node, registered or from the settings.
        """
        CREATE TABLE node_overlays (
          node TEXT PRIMARY KEY,
          overlay BLOB NOT NULL
        )
        """,
        """
        CREATE TABLE node_changes (
          id INTEGER PRIMARY KEY,
          node TEXT NOT NULL,
          at INTEGER NOT NULL,
          state TEXT NOT NULL,
          cause TEXT NOT NULL
        )
        """,
        "CREATE INDEX node_changes_by_node ON node_changes (node, id)",
        # One row. version grows with every change of a node; began, seen: since and until when
        # some gateway has watched the leases without a gap.
        """
        CREATE TABLE node_watch (
          id INTEGER PRIMARY KEY,
          version INTEGER NOT NULL,
          began INTEGER,
          seen INTEGER
        )
        """,
        # used_name, used_url: what it has registered, and may register again until that renews.
        """
        CREATE TABLE registration_tokens (
          uuid TEXT PRIMARY KEY,
          digest TEXT NOT NULL UNIQUE,
          name TEXT,
          owners BLOB NOT NULL,
          user_groups BLOB NOT NULL,
          created INTEGER NOT NULL,
          expires INTEGER NOT NULL,
          attempts INTEGER NOT NULL,
          used_name TEXT,
          used_url TEXT
        )
        """,
        # A client's request and the offer set that answers it here: gateways above may bring it by
        # several ways.
        """
        CREATE TABLE client_requests (
          root TEXT PRIMARY KEY,
          offerset TEXT NOT NULL,
          created INTEGER NOT NULL
        )
        """,
        "CREATE INDEX client_requests_by_age ON client_requests (created)",
        # Execution templates. words: the folded words of the latest version, each with a space
        # before it and behind it, for what people search for.
        """
        CREATE TABLE software (
          uuid TEXT PRIMARY KEY,
          owner TEXT NOT NULL,
          latest INTEGER NOT NULL,
          words TEXT NOT NULL,
          created INTEGER NOT NULL
        )
        """,
        "CREATE INDEX software_by_age ON software (created, uuid)",
        "CREATE INDEX software_by_owner ON software (owner)",
        """
        CREATE TABLE software_versions (
          software TEXT NOT NULL REFERENCES software ON DELETE CASCADE,
          number INTEGER NOT NULL,
          title TEXT NOT NULL,
          description TEXT,
          keywords BLOB NOT NULL,
          kinds BLOB NOT NULL,
          document BLOB NOT NULL,
          source TEXT,
          created INTEGER NOT NULL,
          PRIMARY KEY (software, number)
        )
        """,
        # What is found by equality alone: keywords and kinds of the latest version.
        """
        CREATE TABLE software_tags (
          software TEXT NOT NULL REFERENCES software ON DELETE CASCADE,
          sort TEXT NOT NULL,
          value TEXT NOT NULL,
          PRIMARY KEY (software, sort, value)
        )
        """,
        "CREATE INDEX software_tags_by_value ON software_tags (sort, value, software)",
        # owner: whom it concerns; NULL until it has a position, for the offer set's owner then.
        # position: from 1 without a gap, in an order in which everybody sees events come; NULL for
        # one that has not been given its position yet.
        "ALTER TABLE events ADD COLUMN owner TEXT",
        "ALTER TABLE events ADD COLUMN position INTEGER",
        "CREATE INDEX events_unplaced ON events (id) WHERE position IS NULL",
        "CREATE UNIQUE INDEX events_by_position ON events (position)",
        "CREATE INDEX events_by_owner ON events (owner, position)",
        "CREATE INDEX events_by_offerset ON events (offerset)",
        # One row. Who keeps it gives out positions; last is the last one given.
        "CREATE TABLE event_order (last INTEGER NOT NULL)",
        "INSERT INTO event_order (last) VALUES (0)",
        # target: its URL and secret, sealed. cursor: position of the last event dealt with. due:
        # when it is looked at next, or until when whoever delivers has it.
        """
        CREATE TABLE webhooks (
          uuid TEXT PRIMARY KEY,
          owner TEXT NOT NULL,
          target BLOB NOT NULL,
          filters TEXT NOT NULL,
          created INTEGER NOT NULL,
          cursor INTEGER NOT NULL,
          attempts INTEGER NOT NULL,
          due INTEGER NOT NULL,
          fence INTEGER NOT NULL,
          failing_since INTEGER,
          disabled INTEGER,
          last_error TEXT
        )
        """,
        "CREATE INDEX webhooks_by_owner ON webhooks (owner, created)",
        """
        CREATE TABLE webhook_deliveries (
          id INTEGER PRIMARY KEY,
          webhook TEXT NOT NULL REFERENCES webhooks ON DELETE CASCADE,
          position INTEGER NOT NULL,
          at INTEGER NOT NULL,
          attempt INTEGER NOT NULL,
          status INTEGER,
          error TEXT,
          took_ms INTEGER NOT NULL
        )
        """,
        "CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook, id)",
        # In which groups an owner was when asking: those that a rule or a node speaks of.
        """
        CREATE TABLE offerset_groups (
          offerset TEXT NOT NULL REFERENCES offersets ON DELETE CASCADE,
          name TEXT NOT NULL,
          PRIMARY KEY (offerset, name)
        )
        """,
        # One row for each owner and group with a quota: who keeps it may add to what it holds.
        "CREATE TABLE quota_holders (name TEXT PRIMARY KEY)",
        # Who did what, to what, from where, and how it ended; reason: the problem of a refusal.
        """
        CREATE TABLE audit (
          id INTEGER PRIMARY KEY,
          at INTEGER NOT NULL,
          who TEXT NOT NULL,
          what TEXT NOT NULL,
          object TEXT,
          origin TEXT,
          request_id TEXT NOT NULL,
          status INTEGER NOT NULL,
          reason TEXT
        )
        """,
        "CREATE INDEX audit_by_at ON audit (at)",
        "CREATE INDEX audit_by_who ON audit (who, id)",
        "CREATE INDEX audit_by_object ON audit (object, id)",
        # Requests that are being written. source: what it began from, JSON.
        """
        CREATE TABLE drafts (
          uuid TEXT PRIMARY KEY,
          owner TEXT NOT NULL,
          name TEXT,
          source BLOB NOT NULL,
          request BLOB NOT NULL,
          revision INTEGER NOT NULL,
          created INTEGER NOT NULL,
          changed INTEGER NOT NULL
        )
        """,
        "CREATE INDEX drafts_by_owner ON drafts (owner, created, uuid)",
        "CREATE INDEX drafts_by_change ON drafts (changed)",
        # offerset: kept also when that is forgotten.
        """
        CREATE TABLE draft_submissions (
          draft TEXT NOT NULL REFERENCES drafts ON DELETE CASCADE,
          offerset TEXT NOT NULL,
          revision INTEGER NOT NULL,
          at INTEGER NOT NULL,
          PRIMARY KEY (draft, offerset)
        )
        """,
        # replaces: the set has offers, and the holds of the previous one were let go.
        """
        CREATE TABLE reaskings (
          offerset TEXT PRIMARY KEY REFERENCES offersets ON DELETE CASCADE,
          previous TEXT NOT NULL,
          idempotency_key TEXT,
          replaces INTEGER NOT NULL,
          at INTEGER NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX one_replacement ON reaskings (previous) WHERE replaces = 1",
        # For lists. Of sessions only those are in it that were accepted at some time.
        "CREATE INDEX offersets_by_owner ON offersets (owner, created, uuid)",
        "CREATE INDEX offersets_by_age ON offersets (created, uuid)",
        """
        CREATE INDEX sessions_by_change ON sessions (owner, changed, uuid)
          WHERE phase NOT IN ('INITIAL', 'OFFERED', 'REJECTED', 'EXPIRED')
        """,
        # member_of: a JSON array of groups. is_revoked: its password is refused.
        "ALTER TABLE identities ADD COLUMN member_of TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE identities ADD COLUMN is_revoked INTEGER NOT NULL DEFAULT 0",
        # Whose tokens are refused, whatever their issuer says.
        """
        CREATE TABLE revocations (
          issuer TEXT NOT NULL,
          subject TEXT NOT NULL,
          revoked INTEGER NOT NULL,
          PRIMARY KEY (issuer, subject)
        )
        """,
        # Holds that nobody was shown and that their node is still to be told of, those of a request
        # at one node in a row. uuids: JSON. held: how many they are.
        """
        CREATE TABLE unkept_holds (
          id INTEGER PRIMARY KEY,
          offerset TEXT NOT NULL REFERENCES offersets ON DELETE CASCADE,
          node TEXT NOT NULL,
          owner TEXT NOT NULL,
          uuids BLOB NOT NULL,
          held INTEGER NOT NULL,
          attempts INTEGER NOT NULL,
          created INTEGER NOT NULL,
          due INTEGER NOT NULL,
          give_up INTEGER NOT NULL,
          fence INTEGER NOT NULL,
          last_error TEXT
        )
        """,
        "CREATE INDEX unkept_holds_by_due ON unkept_holds (due)",
        "CREATE INDEX unkept_holds_by_offerset ON unkept_holds (offerset)",
        # One row: who this gateway is, for all its processes.
        """
        CREATE TABLE installation (
          id INTEGER PRIMARY KEY,
          identity TEXT NOT NULL
        )
        """,
        # What gateways that this one has joined gave it, sealed.
        """
        CREATE TABLE memberships (
          gateway TEXT PRIMARY KEY,
          credential BLOB NOT NULL
        )
        """,
        # One row: the registration under way, and the key of its challenge, sealed.
        """
        CREATE TABLE membership_turn (
          id INTEGER PRIMARY KEY,
          holder TEXT NOT NULL,
          url TEXT NOT NULL,
          key BLOB NOT NULL,
          until INTEGER NOT NULL
        )
        """,
        # Processes of this gateway that renew its memberships; until: when they are missed.
        """
        CREATE TABLE membership_processes (
          process TEXT PRIMARY KEY,
          until INTEGER NOT NULL
        )
        """,
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
