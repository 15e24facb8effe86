"""A data lake behind a memory: asked seldom, by one at a time about each thing, and never too long.

A look-up is not ended when whoever asked for it stops waiting: it ends by itself and what it found
is kept, so that a slow lake is of use to the next request at least.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from gateway.clients.lakes.base import LAKE_TROUBLE, Health, LakeClient
from gateway.clock import Clock
from gateway.domain.holdings import Did, Holding, LocateResult
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.services.locating_breaker import BreakerLimits, BreakerPhase, CircuitBreaker
from gateway.services.locating_cache import AnswerCache, CachedAnswer, CacheLimits
from gateway.services.locating_metrics import LocatingMetrics
from gateway.services.tasks import SupervisedTasks

Outcome: TypeAlias = Holding | Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLimits:
    """``fetch_s`` is the most that a look-up may take, whoever still waits for it.

    One that has said nothing for ``silent_s`` counts as failed, while it goes on. ``fetches`` is
    how many may be under way; beyond it the lake is not asked.
    """

    fetch_s: float = 20.0
    silent_s: float = 1.5
    fetches: int = 200
    cache: CacheLimits = field(default_factory=CacheLimits)
    breaker: BreakerLimits = field(default_factory=BreakerLimits)


class _Fetch:
    """One look-up under way and those who wait for parts of it."""

    __slots__ = ("began", "counts_as_failed", "has_answered", "waiting")

    def __init__(self, waiting: dict[Did, asyncio.Future[Outcome]], began: float) -> None:
        self.waiting = waiting
        self.began = began
        self.has_answered = False
        self.counts_as_failed = False


class GuardedLake:
    """One lake as ``DataLake``. ``aclose`` ends the look-ups under way."""

    def __init__(
        self,
        client: LakeClient,
        cache: AnswerCache,
        limits: GuardLimits,
        clock: Clock,
        metrics: LocatingMetrics,
    ) -> None:
        self.name = client.name
        self._client = client
        self._cache = cache
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        self._breaker = CircuitBreaker(limits.breaker)
        self._tasks = SupervisedTasks()
        self._fetches: dict[Did, _Fetch] = {}
        metrics.show_breaker(self.name, self._breaker.phase)

    async def locate(self, dids: Collection[Did], *, deadline: float) -> LocateResult:
        """What is known of each by the deadline, old answers where there is nothing newer."""
        began = self._clock.monotonic()
        cached = {did: self._cache.get(did, began) for did in dids}
        wanted = [did for did, answer in cached.items() if answer is None or not answer.is_fresh]
        why_not = self._ask([did for did in wanted if did not in self._fetches], began)
        waiting = {did: self._fetches[did].waiting[did] for did in wanted if did in self._fetches}
        if waiting:
            await self._wait(waiting, deadline)
        if why_not is None:
            seconds = round(max(0.0, deadline - began), 1)
            why_not = reason(ReasonCode.LAKE_TIMEOUT, lake=self.name, seconds=seconds)
        return self._result(cached, waiting, why_not)

    async def health(self, *, deadline: float) -> Health:
        """How the lake is now: asked, unless it is left alone."""
        if self._breaker.phase is BreakerPhase.CLOSED:
            return await self._client.health(deadline=deadline)
        return Health(self.name, is_up=False, detail="left alone after failing too often")

    async def aclose(self) -> None:
        """End what is under way."""
        await self._tasks.aclose()

    def _ask(self, dids: Sequence[Did], now: float) -> Reason | None:
        """Begin to look these up, or say why not."""
        if not dids:
            return None
        if len(self._tasks) >= self._limits.fetches or not self._breaker.allows(now):
            rest_s = max(1, round(self._breaker.rest_s(now)))
            return reason(ReasonCode.LAKE_RESTING, lake=self.name, seconds=rest_s)
        loop = asyncio.get_running_loop()
        fetch = _Fetch({did: loop.create_future() for did in dids}, now)
        self._fetches.update(dict.fromkeys(dids, fetch))
        self._tasks.spawn(self._fetch(fetch, tuple(dids)), name=f"locate in {self.name}")
        return None

    async def _fetch(self, fetch: _Fetch, dids: Sequence[Did]) -> None:
        def settled(did: Did, outcome: Outcome, *, is_open: bool) -> None:
            self._settle(fetch, did, outcome, is_open=is_open)

        try:
            deadline = fetch.began + self._limits.fetch_s
            await self._client.locate(dids, deadline=deadline, settled=settled)
        finally:
            # Whatever ended it: nobody waits for what does not come any more.
            now = self._clock.monotonic()
            took_s = now - fetch.began
            lost = reason(ReasonCode.LAKE_TIMEOUT, lake=self.name, seconds=round(took_s, 1))
            for did in dids:
                self._end_waiting(fetch, did, lost)
            if not fetch.has_answered and not fetch.counts_as_failed:
                self._breaker.failed(now)
            self._metrics.show_breaker(self.name, self._breaker.phase)
            self._metrics.fetched(self.name, took_s, is_trouble=not fetch.has_answered)

    def _settle(self, fetch: _Fetch, did: Did, outcome: Outcome, *, is_open: bool) -> None:
        if not _is_trouble(outcome):
            self._cache.put(did, outcome, self._clock.monotonic(), is_open=is_open)
            fetch.has_answered = True
            self._breaker.succeeded()
        self._end_waiting(fetch, did, outcome)

    def _end_waiting(self, fetch: _Fetch, did: Did, outcome: Outcome) -> None:
        """Who asks from now on finds it in the memory, or asks anew."""
        if not fetch.waiting[did].done():
            fetch.waiting[did].set_result(outcome)
            self._fetches.pop(did, None)

    async def _wait(self, waiting: dict[Did, asyncio.Future[Outcome]], deadline: float) -> None:
        left_s = deadline - self._clock.monotonic()
        await asyncio.wait(waiting.values(), timeout=max(0.0, left_s))
        now = self._clock.monotonic()
        late = {did for did, future in waiting.items() if not future.done()}
        for fetch in {
            id(fetch): fetch for did, fetch in self._fetches.items() if did in late
        }.values():
            # Long before its time is up: whoever comes next must not have to wait as long.
            is_silent = not fetch.has_answered and now - fetch.began >= self._limits.silent_s
            if is_silent and not fetch.counts_as_failed:
                fetch.counts_as_failed = True
                self._breaker.failed(now)
        self._metrics.show_breaker(self.name, self._breaker.phase)

    def _result(
        self,
        cached: dict[Did, CachedAnswer | None],
        waiting: dict[Did, asyncio.Future[Outcome]],
        why_not: Reason,
    ) -> LocateResult:
        holdings: dict[Did, Holding] = {}
        missing: dict[Did, Reason] = {}
        troubles: list[Reason] = []
        counts: Counter[str] = Counter()
        for did, known in cached.items():
            if known is not None and known.is_fresh:
                counted, outcome = "fresh", _aged(known)
            else:
                future = waiting.get(did)
                said = future.result() if future is not None and future.done() else why_not
                if not _is_trouble(said):
                    counted, outcome = "asked", said
                elif known is not None:
                    counted, outcome = "stale", _aged(known)
                else:
                    counted, outcome = "missing", said
                if isinstance(said, Reason) and _is_trouble(said) and said not in troubles:
                    troubles.append(said)
            counts[counted] += 1
            if isinstance(outcome, Holding):
                holdings[did] = outcome
            else:
                missing[did] = outcome
        for counted, count in counts.items():
            self._metrics.answered(self.name, counted, count)
        return LocateResult(holdings, missing, tuple(troubles))


def _is_trouble(outcome: Outcome) -> bool:
    return isinstance(outcome, Reason) and outcome.code in LAKE_TROUBLE


def _aged(answer: CachedAnswer) -> Outcome:
    """As it is shown: with its age, and marked where it is old."""
    if isinstance(answer.outcome, Reason):
        return answer.outcome
    return replace(answer.outcome, age_s=answer.age_s, is_stale=not answer.is_fresh)
