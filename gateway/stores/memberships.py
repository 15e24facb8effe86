"""The gateway's own memberships at other gateways, as all its processes have to know them.

Secrets come sealed and go sealed.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from gateway.stores.database import Transaction, to_micros

_TURN: Final = 1
"""The id of the only row: one registration is under way at a time."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The registration under way: which URL is being registered, and its challenge's key."""

    url: str
    key: bytes = field(repr=False)


class MembershipStore:
    """Credentials by the URL of the gateway they are of, the turn to register, and who renews."""

    async def credential(self, tx: Transaction, gateway: str) -> bytes | None:
        """What this gateway gave us."""
        row = await tx.fetch_one("SELECT credential FROM memberships WHERE gateway = ?", (gateway,))
        return None if row is None else bytes(row["credential"])

    async def keep(self, tx: Transaction, gateway: str, credential: bytes) -> None:
        """Keep what it gave us, in place of what it gave before."""
        await tx.execute(
            "INSERT INTO memberships (gateway, credential) VALUES (?, ?) "
            "ON CONFLICT (gateway) DO UPDATE SET credential = excluded.credential",
            (gateway, credential),
        )

    async def take_turn(
        self, tx: Transaction, holder: str, turn: Turn, *, now: datetime, until: datetime
    ) -> bool:
        """Whether it is the holder's turn to register, until then at most."""
        taken = await tx.execute(
            "INSERT INTO membership_turn (id, holder, url, key, until) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET holder = excluded.holder, url = excluded.url, "
            "key = excluded.key, until = excluded.until WHERE membership_turn.until <= ?",
            (_TURN, holder, turn.url, turn.key, to_micros(until), to_micros(now)),
        )
        return taken == 1

    async def end_turn(self, tx: Transaction, holder: str) -> None:
        """The holder's turn is over, if it has not been taken over already."""
        await tx.execute("DELETE FROM membership_turn WHERE holder = ?", (holder,))

    async def turn(self, tx: Transaction, now: datetime) -> Turn | None:
        """The registration under way, if one is."""
        row = await tx.fetch_one(
            "SELECT url, key FROM membership_turn WHERE id = ? AND until > ?",
            (_TURN, to_micros(now)),
        )
        return None if row is None else Turn(row["url"], bytes(row["key"]))

    async def stay(self, tx: Transaction, process: str, until: datetime) -> None:
        """A process goes on as a member until then at least."""
        await tx.execute(
            "INSERT INTO membership_processes (process, until) VALUES (?, ?) "
            "ON CONFLICT (process) DO UPDATE SET until = excluded.until",
            (process, to_micros(until)),
        )

    async def go(self, tx: Transaction, process: str, now: datetime) -> bool:
        """A process ends; whether it is the last. Two that end at once are told apart."""
        rows = await tx.fetch(
            f"SELECT process, until FROM membership_processes ORDER BY process{tx.for_update}"  # noqa: S608
        )
        await tx.execute("DELETE FROM membership_processes WHERE process = ?", (process,))
        return not any(row["process"] != process and row["until"] > to_micros(now) for row in rows)

    async def forget_gone(self, tx: Transaction, now: datetime) -> None:
        """Forget processes that ended without a word."""
        await tx.execute("DELETE FROM membership_processes WHERE until <= ?", (to_micros(now),))
