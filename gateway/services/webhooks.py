"""The webhooks of an owner: making them, looking at them, taking them away."""

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway.clock import Clock
from gateway.domain.webhooks import SECRET_BYTES, WebhookUrlError, is_allowed, to_secret
from gateway.errors import TooManyWebhooksError, UnknownWebhookError, WebhookRefusedError
from gateway.sealing import BrokenSealError, Sealer
from gateway.services.caller import ADMIN_OWNER, Caller
from gateway.stores.database import Database, Transaction
from gateway.stores.events import EventStore
from gateway.stores.webhooks import CallRow, WebhookRow, WebhookStore
from gateway.wire.documents import from_json, to_json


@dataclass(frozen=True, slots=True)
class Target:
    """Where a webhook leads, and what its calls are signed with."""

    url: str
    secret: str

    def __repr__(self) -> str:
        return "Target(***)"


class Targets:
    """Keeps targets sealed, and says which may be called.

    ``origins`` are those that the settings allow; ``sealer`` is None where there is no key.
    """

    def __init__(self, origins: Collection[str], sealer: Sealer | None) -> None:
        self._origins = origins
        self._sealer = sealer

    def check(self, url: str) -> None:
        """Let a URL pass that may be called.

        Raises
        ------
        WebhookRefusedError
            It may not, and what would have to be set.
        """
        if self._sealer is None:
            raise WebhookRefusedError(
                "This gateway has no key to keep the secrets of webhooks with: its operator must "
                "set secret_key_env or secret_key_file."
            )
        try:
            is_fine = is_allowed(url, self._origins)
        except WebhookUrlError as error:
            raise WebhookRefusedError(f"The URL {error}.") from error
        if not is_fine:
            raise WebhookRefusedError(
                "This gateway may not call that host: its operator must add it to webhooks.allow."
            )

    def seal(self, uuid: UUID, target: Target) -> bytes:
        """The target as it is stored; `check` has passed."""
        assert self._sealer is not None, "checked before"
        plain = to_json({"url": target.url, "secret": target.secret})
        return self._sealer.seal(plain, _context(uuid))

    def open(self, row: WebhookRow) -> Target | None:
        """The target again; None where the key is another, or gone."""
        if self._sealer is None:
            return None
        try:
            plain = from_json(self._sealer.open(row.target, _context(row.uuid)))
        except BrokenSealError:
            return None
        return Target(plain["url"], plain["secret"])


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook as its owner sees it; without ``target`` the gateway cannot read it any more."""

    row: WebhookRow
    target: Target | None


class WebhookService:
    """Makes, shows and removes webhooks. ``mint`` gives UUIDs."""

    def __init__(
        self,
        *,
        database: Database,
        webhooks: WebhookStore,
        events: EventStore,
        targets: Targets,
        clock: Clock,
        per_owner: int,
        mint: Callable[[], UUID],
    ) -> None:
        self._database = database
        self._webhooks = webhooks
        self._events = events
        self._targets = targets
        self._clock = clock
        self._per_owner = per_owner
        self._mint = mint

    async def add(self, url: str, filters: Sequence[str], caller: Caller) -> Webhook:
        """A new webhook, told of what happens from now on.

        Raises
        ------
        WebhookRefusedError, TooManyWebhooksError
        """
        self._targets.check(url)
        owner, uuid = caller.owner or ADMIN_OWNER, self._mint()
        target = Target(url, to_secret(secrets.token_bytes(SECRET_BYTES)))
        async with self._database.transaction(durable=True) as tx:
            # Also keeps two from being made at once where there is room for one.
            last = await self._events.last(tx)
            if len(await self._webhooks.of_owner(tx, owner)) >= self._per_owner:
                raise TooManyWebhooksError(self._per_owner)
            row = WebhookRow(
                uuid=uuid,
                owner=owner,
                target=self._targets.seal(uuid, target),
                filters=tuple(filters),
                created=self._clock.now(),
                cursor=last,
            )
            await self._webhooks.add(tx, row)
        return Webhook(row, target)

    async def all(self, caller: Caller) -> list[Webhook]:
        """The caller's webhooks, oldest first."""
        async with self._database.reading() as reader:
            rows = await self._webhooks.of_owner(reader, caller.owner or ADMIN_OWNER)
        return [Webhook(row, self._targets.open(row)) for row in rows]

    async def one(self, uuid: UUID, caller: Caller) -> Webhook:
        """One webhook.

        Raises
        ------
        UnknownWebhookError
            There is none, or it is not the caller's.
        """
        async with self._database.reading() as reader:
            row = await self._owned(reader, uuid, caller)
        return Webhook(row, self._targets.open(row))

    async def calls(self, uuid: UUID, caller: Caller) -> list[CallRow]:
        """The last calls to a webhook, newest first. Raises as `one` does."""
        async with self._database.reading() as reader:
            await self._owned(reader, uuid, caller)
            return await self._webhooks.calls(reader, uuid)

    async def remove(self, uuid: UUID, caller: Caller) -> None:
        """No more calls, but for one that is under way. Raises as `one` does."""
        async with self._database.transaction(durable=True) as tx:
            await self._owned(tx, uuid, caller)
            await self._webhooks.remove(tx, uuid)

    async def _owned(self, tx: Transaction, uuid: UUID, caller: Caller) -> WebhookRow:
        row = await self._webhooks.find(tx, uuid)
        if row is None or not caller.owns(row.owner):
            raise UnknownWebhookError(uuid)
        return row


def _context(uuid: UUID) -> str:
    return f"webhook:{uuid}"
