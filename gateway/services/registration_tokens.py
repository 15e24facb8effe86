"""Registration tokens and nodes' own credentials: made, shown once, recognised by their digest."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

from gateway.clock import Clock
from gateway.registration_errors import UnknownTokenError
from gateway.stores.database import Database
from gateway.stores.node_credentials import NodeCredentialStore, RegistrationTokenStore, TokenRow

TOKEN_PREFIX: Final = "ebr_"  # noqa: S105  # what every token begins with
CREDENTIAL_PREFIX: Final = "ebn_"
"""So that scanners for leaked secrets know them, and nobody takes one for the other."""

MAX_ATTEMPTS: Final = 20
"""Registrations tried with one token: each makes the gateway call a URL of a stranger's choice."""

_SECRET_BYTES: Final = 32
"""256 bits are not guessed; so a plain digest protects them, and no salt is needed."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was made, and its secret, which is shown this once."""

    row: TokenRow
    secret: str

    def __repr__(self) -> str:
        return f"NewToken({self.row.uuid})"


def new_secret(prefix: str) -> str:
    """A secret of 43 characters behind its prefix."""
    return prefix + secrets.token_urlsafe(_SECRET_BYTES)


def digest_of(secret: str) -> str:
    """What is kept of it. That it is looked up by this tells nothing by its time.

    Headers may have bytes in them that are no text.
    """
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


class RegistrationTokens:
    """The administrator's tokens, and who calls with one or with a node's own credential."""

    def __init__(
        self,
        database: Database,
        tokens: RegistrationTokenStore,
        credentials: NodeCredentialStore,
        clock: Clock,
        usual_s: float,
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._credentials = credentials
        self._clock = clock
        self._usual_s = usual_s

    async def mint(
        self,
        *,
        name: str | None,
        expires_s: float | None,
        owners: tuple[str, ...],
        groups: tuple[str, ...],
    ) -> NewToken:
        """Make a token for one registration, of any node or of the one called ``name``."""
        now = self._clock.now()
        lasts = timedelta(seconds=self._usual_s if expires_s is None else expires_s)
        row = TokenRow(
            uuid=uuid4(), name=name, owners=owners, groups=groups, created=now, expires=now + lasts
        )
        secret = new_secret(TOKEN_PREFIX)
        async with self._database.transaction() as tx:
            await self._tokens.forget_expired(tx, now)
            await self._tokens.add(tx, row, digest_of(secret))
        return NewToken(row, secret)

    async def all(self) -> list[TokenRow]:
        """Every token that is not over, the oldest first."""
        async with self._database.reading() as reader:
            return await self._tokens.all(reader, self._clock.now())

    async def revoke(self, uuid: UUID) -> None:
        """Take a token back; what was registered with it stays.

        Raises
        ------
        UnknownTokenError
        """
        async with self._database.transaction() as tx:
            if not await self._tokens.delete(tx, uuid):
                raise UnknownTokenError

    async def token_of(self, secret: str) -> TokenRow | None:
        """The token with that secret, if it may still be used."""
        async with self._database.reading() as reader:
            return await self._tokens.find(
                reader, digest_of(secret), now=self._clock.now(), max_attempts=MAX_ATTEMPTS
            )

    async def node_of(self, credential: str) -> str | None:
        """The node whose own credential this is."""
        async with self._database.reading() as reader:
            return await self._credentials.node_of(reader, digest_of(credential))
