"""Letting go of what nobody was shown: telling nodes of the holds that were not kept."""

from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from gateway.clients.broker import BrokerClient, CallContext
from gateway.clients.exchange import NodeSessionUnknownError
from gateway.clock import Clock
from gateway.services.letting_go import LettingGoService
from gateway.services.node_calls import NodeCalls
from gateway.services.verdicts import TOO_LATE, UNREGISTERED, Delivered, Undelivered
from gateway.settings import CommandSettings
from gateway.stores.database import Database
from gateway.stores.sessions import SessionStore
from gateway.stores.unkept import Leased
from gateway.wire.phases import SessionPhase


class UnkeptHolds:
    """What the outbox has told of unkept holds, those of one request at one node after another."""

    def __init__(
        self,
        *,
        database: Database,
        sessions: SessionStore,
        letting_go: LettingGoService,
        nodes: NodeCalls,
        clock: Clock,
        settings: CommandSettings,
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._letting_go = letting_go
        self._nodes = nodes
        self._clock = clock
        self._settings = settings

    async def deliver(self, holds: Leased) -> tuple[Leased, Delivered | Undelivered]:
        """Tell the node of each; nothing is sent once the lease on them has run out.

        A UUID that belongs to a session is not let go of, however often its node gives it.
        """
        async with self._database.reading() as reader:
            theirs = await self._sessions.known(reader, holds.uuids)
        client = self._nodes.client(holds.node)
        if client is None:
            return holds, Undelivered(UNREGISTERED)
        left_s = (holds.due - self._clock.now()).total_seconds()
        deadline = self._clock.monotonic() + min(self._settings.deadline_s, left_s)
        authorization = self._nodes.remembered_authorization(holds.owner)
        untold: list[UUID] = []
        why = ""
        for uuid in holds.uuids:
            if uuid in theirs:
                continue
            result = await self._end(uuid, client, authorization, holds.due, deadline)
            if isinstance(result, Undelivered):
                untold.append(uuid)
                why = result.why
        if not untold:
            return holds, Delivered("node was told of all")
        # Another comes first next time, so that one which hangs keeps none of them waiting.
        return replace(holds, uuids=(*untold[1:], untold[0])), Undelivered(why)

    async def give_up(self, holds: Leased) -> None:
        """They end by themselves, as every offer does."""

    async def _end(
        self,
        uuid: UUID,
        client: BrokerClient,
        authorization: str | None,
        until: datetime,
        deadline: float,
    ) -> Delivered | Undelivered:
        if self._clock.now() >= until:
            # This process was held up: another may be at it by now.
            return Undelivered(TOO_LATE)
        call = CallContext(
            idempotency_key=f"{uuid}:{SessionPhase.REJECTED.value}", authorization=authorization
        )
        try:
            return await self._letting_go.end(uuid, SessionPhase.REJECTED, client, call, deadline)
        except NodeSessionUnknownError:
            return Delivered("node does not know the session any more")
