"""Telling webhooks what happened: each event at least once and in order, however long it takes."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from gateway.clients.webhook_poster import WebhookPoster, WebhookUnreachableError
from gateway.clock import Clock
from gateway.domain.cloud_events import Occurrence, is_wanted, to_cloud_event
from gateway.domain.webhooks import sign
from gateway.errors import WebhookRefusedError
from gateway.services.caller import ADMIN_OWNER
from gateway.services.event_metrics import EventMetrics
from gateway.services.standing import OwnerStanding
from gateway.services.tasks import SupervisedTasks
from gateway.services.webhooks import Target, Targets
from gateway.settings import WebhookSettings
from gateway.stores.database import Database
from gateway.stores.events import Event, EventScope, EventStore
from gateway.stores.webhooks import CallRow, WebhookRow, WebhookStore
from gateway.wire.documents import to_json

LOOK_S: Final = 1.0
"""How often to look whether there is something to tell; events that are placed here wake it."""

TURN_S: Final = 10.0
"""After so long another call is left to the next turn, so that the lease need not be renewed."""

PAGE: Final = 50
"""Events read at once for one webhook."""

_GONE: Final = 410
_SUCCESS: Final = range(200, 300)
_TYPE: Final = "application/cloudevents+json"

_log = structlog.stdlib.get_logger(__name__)


class WebhookCalls:
    """Claims webhooks that are to be told of something, and tells them; ``aclose`` at the end.

    Run ``run`` as a duty. Several gateways on one database do not tell the same webhook at a time.
    Whose owner may not read any more is told nothing: that is a failure like any other, so that it
    goes on where it was if the owner is let in again in time.
    """

    def __init__(
        self,
        *,
        database: Database,
        webhooks: WebhookStore,
        events: EventStore,
        targets: Targets,
        standing: OwnerStanding,
        client: WebhookPoster,
        clock: Clock,
        settings: WebhookSettings,
        source: str,
        metrics: EventMetrics,
    ) -> None:
        self._database = database
        self._webhooks = webhooks
        self._events = events
        self._targets = targets
        self._standing = standing
        self._client = client
        self._clock = clock
        self._settings = settings
        self._source = source
        self._metrics = metrics
        # A turn, the call that it ends with, and as much again for a process that is kept waiting.
        self._lease = timedelta(seconds=2 * (TURN_S + settings.deadline_s))
        self._tasks = SupervisedTasks()
        self.wake = asyncio.Event()

    async def run(self) -> float:
        """Begin to tell those that are due; the seconds until the next look."""
        room = self._settings.at_once - len(self._tasks)
        now = self._clock.now()
        async with self._database.reading() as reader:
            if room <= 0 or not await self._webhooks.has_due(reader, now):
                return LOOK_S
        async with self._database.transaction() as tx:
            rows = await self._webhooks.claim(
                tx, now=now, lease_until=now + self._lease, limit=room
            )
        for row in rows:
            self._tasks.spawn(self._tell(row), name=f"webhook {row.uuid}")
        return LOOK_S

    async def aclose(self) -> None:
        """Break off what is under way; it is done again."""
        await self._tasks.aclose()

    async def _tell(self, row: WebhookRow) -> None:
        """One turn: as many events as there is time for."""
        scope = EventScope(owner=None if row.owner == ADMIN_OWNER else row.owner)
        ends = self._clock.monotonic() + TURN_S
        while page := await self._page(scope, row.cursor):
            for one in page:
                if self._clock.monotonic() >= ends:
                    await self._advance(row, due=self._clock.now())
                    return
                if is_wanted(one, row.filters):
                    told = await self._call(row, one)
                    if told is None:
                        return
                    row = told
                else:
                    row = replace(row, cursor=one.position)
        await self._advance(row, due=self._clock.now())

    async def _page(self, scope: EventScope, position: int) -> Sequence[Occurrence]:
        async with self._database.reading() as reader:
            return await self._events.after(reader, scope, position, PAGE)

    async def _advance(self, row: WebhookRow, *, due: datetime) -> None:
        """Save how far it has got, and leave it to the next turn."""
        async with self._database.transaction() as tx:
            await self._webhooks.advance(tx, row, cursor=row.cursor, due=due)
        self.wake.set()

    async def _call(self, row: WebhookRow, occurrence: Occurrence) -> WebhookRow | None:
        """Tell it of one event, and save what came of it; None where its turn ends with that."""
        began, at = self._clock.monotonic(), self._clock.now()
        status, why = await self._answer(row, occurrence)
        took_ms = round((self._clock.monotonic() - began) * 1000)
        call = CallRow(occurrence.position, at, row.attempts + 1, status, why, took_ms)
        if why is None:
            return await self._told(row, call)
        await self._failed(row, call, why)
        return None

    async def _answer(
        self, row: WebhookRow, occurrence: Occurrence
    ) -> tuple[int | None, str | None]:
        """The status of the answer, if there is one, and what is wrong, if anything is."""
        if not await self._standing.may_read(row.owner):
            return None, "its owner may not read here any more"
        target = self._targets.open(row)
        if target is None:
            return None, "its secret cannot be read: the gateway's secret_key is another"
        try:
            self._targets.check(target.url)
            status = await self._post(row, target, occurrence)
        except (WebhookRefusedError, WebhookUnreachableError) as error:
            return None, str(error)
        return status, None if status in _SUCCESS else f"answered with status {status}"

    async def _post(self, row: WebhookRow, target: Target, occurrence: Occurrence) -> int:
        body = to_json(to_cloud_event(occurrence, self._source))
        # The same whenever it is sent again: by this its receiver knows that it has it already.
        message_id = f"msg_{row.uuid.hex}_{occurrence.position}"
        timestamp_s = int(self._clock.now().timestamp())
        headers = {
            "Content-Type": _TYPE,
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": sign(target.secret, message_id, timestamp_s, body),
        }
        return await self._client.post(target.url, body, headers)

    async def _told(self, row: WebhookRow, call: CallRow) -> WebhookRow | None:
        """Save that it knows; None where somebody else has it now."""
        lease_until = self._clock.now() + self._lease
        async with self._database.transaction(durable=True) as tx:
            is_ours = await self._webhooks.advance(tx, row, cursor=call.position, due=lease_until)
            if is_ours:
                await self._webhooks.add_call(tx, row, call)
        self._metrics.called("delivered")
        if not is_ours:
            return None
        return replace(row, cursor=call.position, attempts=0, failing_since=None)

    async def _failed(self, row: WebhookRow, call: CallRow, why: str) -> None:
        """Have it called again later, or give it up."""
        now = self._clock.now()
        since = row.failing_since or now
        is_over = call.status == _GONE or (now - since).total_seconds() >= self._settings.give_up_s
        pause = timedelta(seconds=self._pause_s(call.attempt))
        async with self._database.transaction(durable=True) as tx:
            # Of what came before it has been told, or wanted to know nothing.
            if not await self._webhooks.advance(tx, row, cursor=row.cursor, due=now):
                return
            if is_over:
                await self._webhooks.disable(tx, row, at=now, since=since, error=why)
                detail = f"webhook {row.uuid}: {why}"
                event = Event(now, "webhook_disabled", "gateway", detail=detail, owner=row.owner)
                await self._events.add(tx, event)
            else:
                await self._webhooks.fail(
                    tx, row, due=now + pause, since=since, attempts=call.attempt, error=why
                )
            await self._webhooks.add_call(tx, row, call)
        self._metrics.called("disabled" if is_over else "failed")
        report = _log.error if is_over else _log.warning
        report("webhook_failed", webhook=str(row.uuid), attempt=call.attempt, why=why)

    def _pause_s(self, attempt: int) -> float:
        first_s, longest_s = self._settings.first_s, self._settings.longest_s
        longest = min(first_s * 2 ** min(attempt - 1, 16), longest_s)
        return random.uniform(longest / 2, longest)  # noqa: S311  # spreads retries, no secret
