"""The nodes this gateway knows, and what their own answers taught about them."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from gateway.clients.broker import BrokerClient
from gateway.clients.exchange import NodeTimeoutError, Stage
from gateway.domain.coverage import Outcome
from gateway.domain.latency import LatencyRecord
from gateway.domain.node import NodeProfile
from gateway.domain.reasons import Reason
from gateway.domain.staging_record import AS_ESTIMATED, Report, StagingRecord
from gateway.domain.track_record import WHOLE, TrackRecord
from gateway.wire.documents import Document
from gateway.wire.times import format_instant


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """What is known of a node at one moment, all of it from its own answers.

    ``last_seen`` is when it last said anything at all, sense or not. ``kept_share`` is how often it
    kept its word, 0..1, since this process began; ``track_record`` has the counts behind it and
    ``staging`` how its transfers went, both decayed.
    """

    profile: NodeProfile
    outcome: Outcome | None
    reason: Reason | None
    last_asked: datetime | None
    last_seen: datetime | None
    honours_idempotency: bool | None
    in_flight: int
    kept_share: float
    mean_s: float | None
    p50_s: float | None
    p95_s: float | None
    track_record: Document
    staging: Document

    def to_document(self) -> Document:
        """The node for ``GET /nodes``; what is not known is null. No credentials."""
        profile = self.profile
        return {
            "name": profile.name,
            "url": profile.url,
            "site": profile.site,
            "storage": list(profile.storage),
            "is_enabled": profile.is_enabled,
            "honours_idempotency": self.honours_idempotency,
            "last": {
                "outcome": self.outcome.value if self.outcome else None,
                "reason": self.reason.code.value if self.reason else None,
                "asked": format_instant(self.last_asked) if self.last_asked else None,
                "seen": format_instant(self.last_seen) if self.last_seen else None,
            },
            "latency_ms": {
                "mean": _milliseconds(self.mean_s),
                "p50": _milliseconds(self.p50_s),
                "p95": _milliseconds(self.p95_s),
            },
            "in_flight": self.in_flight,
            "kept_share": self.kept_share,
            "track_record": self.track_record,
            "staging": self.staging,
        }


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


class RegisteredNode:
    """One node: how to speak to it, how many may at once, and what is known of it."""

    def __init__(self, client: BrokerClient, clock: Callable[[], datetime]) -> None:
        self.client = client
        self.profile = client.profile
        self.latency = LatencyRecord()
        self.honours_idempotency = client.profile.honours_idempotency
        self.track_record = TrackRecord(0, 0, clock())
        self.staging_record = StagingRecord(AS_ESTIMATED, 0, clock())
        self._clock = clock
        self._slots = asyncio.Semaphore(client.profile.max_in_flight)
        self._in_flight = 0
        self._outcome: Outcome | None = None
        self._reason: Reason | None = None
        self._last_asked: datetime | None = None
        self._last_seen: datetime | None = None

    @property
    def name(self) -> str:
        """The name that the configuration gave it."""
        return self.profile.name

    async def acquire(self, deadline: float) -> None:
        """Take one of the node's ``max_in_flight`` places, waited for until ``deadline`` at most.

        Raises
        ------
        NodeTimeoutError
            None became free in time; nothing was sent.
        """
        if self._slots.locked():
            try:
                async with asyncio.timeout_at(deadline):
                    await self._slots.acquire()
            except TimeoutError as error:
                raise NodeTimeoutError(Stage.QUEUED) from error
        else:
            await self._slots.acquire()
        self._in_flight += 1

    def release(self) -> None:
        """Give the place back."""
        self._in_flight -= 1
        self._slots.release()

    def note(
        self, outcome: Outcome, reason: Reason | None, *, took_s: float | None, was_heard: bool
    ) -> None:
        """Take in what became of one call.

        ``took_s`` only where it says how fast the node is; ``was_heard`` if it said anything.
        """
        now = self._clock()
        self._outcome = outcome
        self._reason = reason
        self._last_asked = now
        if was_heard:
            self._last_seen = now
        if took_s is not None:
            self.latency.add(took_s)

    def note_offers(self, *, was_late: bool) -> None:
        """Learn from an answer with offers whether the node is in time."""
        record, now = self.track_record, self._clock()
        self.track_record = record.with_late(now) if was_late else record.with_timely(now)

    def note_accept(self, *, was_kept: bool) -> None:
        """Learn from an accepted offer whether the node kept its word."""
        record, now = self.track_record, self._clock()
        self.track_record = record.with_kept(now) if was_kept else record.with_broken(now)

    def note_staging(self, report: Report) -> None:
        """Learn from what the node says it has staged how its transfers go."""
        self.staging_record = self.staging_record.with_report(report, self._clock())

    def note_idempotency(self, *, was_echoed: bool) -> None:
        """Learn from an answer to a request that carried a key, unless the settings say it."""
        if self.profile.honours_idempotency is None:
            self.honours_idempotency = was_echoed

    def snapshot(self) -> NodeSnapshot:
        """What is known of the node now."""
        now = self._clock()
        return NodeSnapshot(
            profile=self.profile,
            outcome=self._outcome,
            reason=self._reason,
            last_asked=self._last_asked,
            last_seen=self._last_seen,
            honours_idempotency=self.honours_idempotency,
            in_flight=self._in_flight,
            kept_share=round(self.track_record.share(now) / WHOLE, 3),
            mean_s=self.latency.mean_s,
            p50_s=self.latency.quantile(0.5),
            p95_s=self.latency.quantile(0.95),
            track_record=self.track_record.to_document(now),
            staging=self.staging_record.to_document(now),
        )


class NodeRegistry:
    """Every node by its name. ``clock`` gives the time of day in UTC."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._nodes: dict[str, RegisteredNode] = {}

    def __iter__(self) -> Iterator[RegisteredNode]:
        return iter(tuple(self._nodes.values()))

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, name: object) -> bool:
        return name in self._nodes

    def add(self, client: BrokerClient) -> RegisteredNode:
        """Register a node.

        Raises
        ------
        ValueError
            There is one of this name.
        """
        name = client.profile.name
        if name in self._nodes:
            message = f"there is a node named {name} already"
            raise ValueError(message)
        node = self._nodes[name] = RegisteredNode(client, self._clock)
        return node

    def get(self, name: str) -> RegisteredNode:
        """The node of this name.

        Raises
        ------
        KeyError
            There is none.
        """
        return self._nodes[name]

    def snapshots(self) -> tuple[NodeSnapshot, ...]:
        """What is known of every node now, in the order of their registration."""
        return tuple(node.snapshot() for node in self)
