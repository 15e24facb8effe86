"""Which people of issuers of tokens are shut out of this gateway."""

from typing import Final

from gateway.clock import Clock
from gateway.stores.database import Database, to_micros
from gateway.wire.identity import Subject

_BEFORE_ALL: Final = Subject("", "")


class SqlRevocationStore:
    """Subjects whose tokens are refused."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def is_revoked(self, subject: Subject) -> bool:
        """Whether this one is shut out.

        Raises
        ------
        StoreUnavailableError
        """
        async with self._database.reading() as reader:
            row = await reader.fetch_one(
                "SELECT 1 FROM revocations WHERE issuer = ? AND subject = ?",
                (subject.issuer, subject.subject),
            )
        return row is not None

    async def revocations(self, after: Subject | None, limit: int) -> list[Subject]:
        """At most ``limit`` of them in order, from behind that one on."""
        last = after or _BEFORE_ALL
        async with self._database.reading() as reader:
            rows = await reader.fetch(
                "SELECT issuer, subject FROM revocations WHERE (issuer, subject) > (?, ?) "
                "ORDER BY issuer, subject LIMIT ?",
                (last.issuer, last.subject, limit),
            )
        return [Subject(row["issuer"], row["subject"]) for row in rows]

    async def revoke(self, subject: Subject) -> None:
        """Shut somebody out; once more changes nothing."""
        async with self._database.transaction(durable=True) as tx:
            await tx.execute(
                "INSERT INTO revocations (issuer, subject, revoked) VALUES (?, ?, ?) "
                "ON CONFLICT (issuer, subject) DO NOTHING",
                (subject.issuer, subject.subject, to_micros(self._clock.now())),
            )

    async def restore(self, subject: Subject) -> bool:
        """Let somebody in again; whether they were shut out."""
        async with self._database.transaction(durable=True) as tx:
            count = await tx.execute(
                "DELETE FROM revocations WHERE issuer = ? AND subject = ?",
                (subject.issuer, subject.subject),
            )
        return count > 0
