"""The nodes this gateway knows, and what their own answers taught about them."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from prometheus_client import CollectorRegistry

from gateway.clients.broker import BrokerClient
from gateway.clients.exchange import (
    NodeError,
    NodeSessionUnknownError,
    NodeStatusError,
    NodeTimeoutError,
    NodeUnreachableError,
    Stage,
)
from gateway.domain.candidates import NodeState
from gateway.domain.concurrency import ConcurrencyLimit
from gateway.domain.coverage import Outcome
from gateway.domain.health import Finding, HealthState, fair_wait_of, finding_of
from gateway.domain.latency import LatencyRecord
from gateway.domain.reasons import Reason
from gateway.domain.registration import ALWAYS_THERE, Down, Membership, NodeStanding, standing_of
from gateway.domain.retry_budget import RetryBudget
from gateway.domain.staging_record import AS_ESTIMATED, Report, StagingRecord
from gateway.domain.track_record import WHOLE, TrackRecord
from gateway.services.health_metrics import HealthMetrics
from gateway.services.health_watch import HealthWatch
from gateway.services.node_places import Lane, NodePlaces
from gateway.services.node_snapshot import NodeSnapshot
from gateway.settings import HealthSettings

LONGEST_WAIT_S: Final = 300.0
"""A node that asks to be left alone for longer is asked again after this: it may have erred, and
an ejection lasts no longer either."""

_WELL: Final = (Outcome.ANSWERED, Outcome.NO)
_USUAL: Final = HealthSettings()
_REFUSED_FOR_NOW: Final = frozenset({429, 503})
"""Too Many Requests (RFC 6585 §4) and Service Unavailable (RFC 9110 §15.6.4)."""


class RegisteredNode:
    """One node: how to speak to it, how many may at once, and what is known of it."""

    def __init__(
        self,
        client: BrokerClient,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        watch: HealthWatch,
    ) -> None:
        profile = client.profile
        self.client = client
        self.profile = profile
        self.membership = ALWAYS_THERE
        self.latency = LatencyRecord()
        self.health = watch.add(profile.name, is_enabled=profile.is_enabled)
        self.honours_idempotency = profile.honours_idempotency
        self.track_record = TrackRecord(0, 0, clock())
        self.staging_record = StagingRecord(AS_ESTIMATED, 0, clock())
        self.last_heard: float | None = None
        """When it last said anything, by the monotonic clock."""
        self._askable = NodeState(profile, identity=profile.identity)
        self._clock = clock
        self._monotonic = monotonic
        self._watch = watch
        self._budget = RetryBudget()
        self._limit = ConcurrencyLimit(watch.settings.min_in_flight, profile.max_in_flight)
        self._places = NodePlaces(profile.max_in_flight, self._limit)
        self._waits_until = -math.inf
        self._outcome: Outcome | None = None
        self._reason: Reason | None = None
        self._last_asked: datetime | None = None
        self._last_seen: datetime | None = None

    @property
    def name(self) -> str:
        """The name that the settings or its registration gave it."""
        return self.profile.name

    @property
    def is_probed(self) -> bool:
        """Whether anybody wants to know if it lives."""
        return self.profile.is_enabled and self.membership.down is not Down.LEFT

    @property
    def standing(self) -> NodeStanding:
        """Where it stands, all things considered."""
        return standing_of(self.health.state, self.membership, is_enabled=self.profile.is_enabled)

    def adopt(self, client: BrokerClient, membership: Membership) -> None:
        """From now on it is as this client and membership say.

        Calls that are under way end as they began, and what was learnt of the node stays.
        """
        profile = client.profile
        self.client, self.profile, self.membership = client, profile, membership
        can = membership.capabilities
        knows_keys = can.idempotency if can else profile.honours_idempotency
        if knows_keys is not None:
            self.honours_idempotency = knows_keys
        self._askable = NodeState(
            profile,
            is_draining=membership.is_draining,
            identity=profile.identity,
            down=membership.why_down(),
            capabilities=can,
        )
        may_be_asked = not membership.is_draining and membership.down is None
        self._watch.count(self.name, is_enabled=profile.is_enabled and may_be_asked)

    async def acquire(self, deadline: float, lane: Lane = Lane.OFFERS) -> None:
        """Take one of the node's places, waited for until ``deadline`` at most.

        Raises
        ------
        NodeTimeoutError
            None became free in time, or none would; nothing was sent.
        """
        await self._places.take(lane, deadline, self.latency.mean_s)

    def release(self, lane: Lane = Lane.OFFERS) -> None:
        """Give the place back."""
        self._places.give_back(lane)

    def may_retry(self) -> bool:
        """Whether this gateway may repeat a call to the node of its own will."""
        return self._budget.allows()

    def note(
        self, outcome: Outcome, reason: Reason | None, *, took_s: float | None, was_heard: bool
    ) -> None:
        """Take in what became of one request for offers.

        ``took_s`` only where it says how fast the node is; ``was_heard`` if it said anything.
        """
        now, monotonic = self._clock(), self._monotonic()
        self._outcome = outcome
        self._reason = reason
        self._last_asked = now
        if was_heard:
            self._last_seen = now
            self.last_heard = monotonic
        usual_s = self.latency.quantile(0.5) if outcome is Outcome.TIMEOUT else None
        if took_s is not None:
            self.latency.add(took_s)
        if outcome in _WELL:
            self._note_well(took_s, monotonic)
            return
        fair_wait_s = fair_wait_of(usual_s, self._watch.settings)
        finding = finding_of(outcome, reason, took_s, fair_wait_s)
        is_refusal = outcome is Outcome.ERROR and self._waits(monotonic)
        if finding is not None and not is_refusal:
            self._note_failure(finding, took_s, monotonic)

    def _note_well(self, took_s: float | None, now: float) -> None:
        self._budget.succeeded()
        if took_s is not None:
            # Its own place was given back already.
            self._limit.answered(took_s, self._places.in_use + 1)
            if self._places.waiting:
                self._places.hand_out()
        if not self.health.is_still_up(now):
            self._watch.asked(self.name, Finding.WELL, now)

    def _note_failure(self, finding: Finding, took_s: float | None, now: float) -> None:
        self._budget.failed()
        if finding is Finding.LATE and took_s is not None:
            self._limit.dropped(now - took_s, now)
        self._watch.asked(self.name, finding, now)

    def heed(self, error: NodeError) -> None:
        """Take in that the node asks to be left alone for a while, if that is what it says."""
        if not isinstance(error, NodeStatusError) or error.retry_after_s is None:
            return
        if error.status not in _REFUSED_FOR_NOW:
            return
        now = self._monotonic()
        wait_s = min(error.retry_after_s, LONGEST_WAIT_S)
        self._waits_until = max(self._waits_until, now + wait_s)
        self._limit.dropped(now, now)

    def note_call(self, error: NodeError | None) -> None:
        """Take in how a call about one session ended, None for well.

        It says only whether the node can be reached: what it answers is about that session.
        """
        if error is None or isinstance(error, NodeStatusError | NodeSessionUnknownError):
            self.note_heard()
            self._watch.heard(self.name, self._monotonic())
        elif (isinstance(error, NodeUnreachableError) and not error.is_ours) or (
            isinstance(error, NodeTimeoutError) and error.stage is Stage.CONNECT
        ):
            self._watch.missed(self.name, self._monotonic())

    def note_probe(self, outcome: str, *, is_well: bool) -> None:
        """Take in a probe; ``outcome`` is one of ``health_metrics.PROBES``."""
        was_ejected = self.health.state is HealthState.EJECTED
        if is_well:
            self.note_heard()
            if was_ejected:
                self._limit.restart()
        self._watch.probed(self.name, outcome, self._monotonic(), is_well=is_well)

    def note_heard(self) -> None:
        """It said something just now."""
        self._last_seen = self._clock()
        self.last_heard = self._monotonic()

    def _waits(self, now: float) -> bool:
        return now < self._waits_until

    def state(self) -> NodeState:
        """Whether it can be asked now."""
        health = self.health
        if health.until is None and not self._waits(self._monotonic()):
            return self._askable
        return replace(
            self._askable,
            ejected_until=self._time_of(health.until),
            ejected_for=health.cause,
            waits_until=self._wanted_at(),
        )

    def _wanted_at(self) -> datetime | None:
        """When it wants to be asked again, if that is not over."""
        is_over = not self._waits(self._monotonic())
        return None if is_over else self._time_of(self._waits_until)

    def _time_of(self, monotonic: float | None) -> datetime | None:
        if monotonic is None:
            return None
        return self._clock() + timedelta(seconds=monotonic - self._monotonic())

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
            membership=self.membership,
            standing=self.standing,
            health=self._watch.snapshot(self.name, self.health),
            outcome=self._outcome,
            reason=self._reason,
            last_asked=self._last_asked,
            last_seen=self._last_seen,
            waits_until=self._wanted_at(),
            honours_idempotency=self.honours_idempotency,
            in_flight=self._places.in_use,
            waiting=self._places.waiting,
            limit=self._places.offers_at_once,
            retry_tokens=self._budget.tokens,
            kept_share=round(self.track_record.share(now) / WHOLE, 3),
            mean_s=self.latency.mean_s,
            p50_s=self.latency.quantile(0.5),
            p95_s=self.latency.quantile(0.95),
            track_record=self.track_record.to_document(now),
            staging=self.staging_record.to_document(now),
        )


class NodeRegistry:
    """Every node by its name, and their health together.

    ``clock`` gives the time of day in UTC, ``monotonic`` seconds that never jump; what is counted
    goes to ``metrics``, if to any.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        settings: HealthSettings = _USUAL,
        metrics: HealthMetrics | None = None,
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self.watch = HealthWatch(
            settings, clock, monotonic, metrics or HealthMetrics(CollectorRegistry())
        )
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
        node = self._nodes[name] = RegisteredNode(client, self._clock, self._monotonic, self.watch)
        return node

    def remove(self, name: str) -> None:
        """Forget a node; calls to it that are under way end as they began.

        Raises
        ------
        KeyError
            There is none of this name.
        """
        del self._nodes[name]
        self.watch.remove(name)

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
