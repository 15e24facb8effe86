"""Where the data of a request are: every resource answered for, in time, whatever the lakes do."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from gateway.clients.lakes.base import DataLake
from gateway.clock import Clock
from gateway.domain.holdings import Did, Holding, Located, LocateResult, Topology
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.services.locating_metrics import LocatingMetrics
from gateway.services.locating_resources import (
    HostSites,
    Pointer,
    outside_holding,
    pointer_of,
    with_hint,
)
from gateway.wire.views import DataView


class TopologySource(Protocol):
    """Knows the sites, storage areas and links."""

    def current(self) -> Topology:
        """What is known now: the same object until something changes."""
        ...

    def notes(self) -> tuple[Reason, ...]:
        """What is to be said about it: that it is old."""
        ...


@dataclass(frozen=True, slots=True)
class Lakes:
    """All lakes as one, and by the URL that a client may name a Rucio with."""

    combined: DataLake
    by_endpoint: Mapping[str, DataLake] = field(default_factory=dict)

    def asked_for(self, pointer: Pointer) -> DataLake | None:
        """The lake that the client means; None if it is none of these."""
        if pointer.endpoint is None:
            return self.combined
        return self.by_endpoint.get(endpoint_key(pointer.endpoint))


def endpoint_key(url: str) -> str:
    """By what two URLs of one Rucio are the same: host and port."""
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme.lower(), 443)
    except ValueError:
        return url
    return f"{parts.hostname}:{port}"


class Locator:
    """Looks up the data of requests."""

    def __init__(
        self,
        lakes: Lakes,
        topology: TopologySource,
        hosts: HostSites,
        clock: Clock,
        metrics: LocatingMetrics,
    ) -> None:
        self._lakes = lakes
        self._topology = topology
        self._hosts = hosts
        self._clock = clock
        self._metrics = metrics

    async def locate(self, data: Sequence[DataView], deadline: float) -> Located:
        """What is known of each of these resources by ``deadline``, a time of the loop.

        Never raises because of a lake.
        """
        began = self._clock.monotonic()
        if not data:
            return Located(topology=self._topology.current())
        pointers = {view.index: pointer_of(view.document) for view in data}
        answers = await self._ask(pointers.values(), deadline)
        holdings: dict[int, Holding] = {}
        missing: dict[int, Reason] = {}
        for index, pointer in pointers.items():
            outcome = self._outcome(pointer, answers)
            if isinstance(outcome, Holding):
                holdings[index] = outcome
            else:
                missing[index] = outcome
        took_s = self._clock.monotonic() - began
        self._metrics.located(len(data), took_s)
        notes = (
            *(note for answer in answers.values() for note in answer.notes),
            *self._topology.notes(),
        )
        return Located(
            holdings,
            missing,
            topology=self._topology.current(),
            notes=notes,
            took_ms=round(took_s * 1000),
        )

    async def _ask(
        self, pointers: Iterable[Pointer], deadline: float
    ) -> Mapping[str, LocateResult]:
        """What each lake that is meant says, by its name; all are asked at once."""
        wanted: dict[str, tuple[DataLake, dict[Did, None]]] = {}
        for pointer in pointers:
            lake = self._lakes.asked_for(pointer)
            if pointer.did is not None and lake is not None:
                wanted.setdefault(lake.name, (lake, {}))[1][pointer.did] = None
        async with asyncio.TaskGroup() as group:
            tasks = {
                name: group.create_task(lake.locate(tuple(dids), deadline=deadline))
                for name, (lake, dids) in wanted.items()
            }
        return {name: task.result() for name, task in tasks.items()}

    def _outcome(self, pointer: Pointer, answers: Mapping[str, LocateResult]) -> Holding | Reason:
        if pointer.did is None:
            return self._outside(pointer)
        lake = self._lakes.asked_for(pointer)
        if lake is None:
            return _unknown(pointer, "the Rucio that it is in is none of this gateway's")
        answer = answers[lake.name]
        holding = answer.holdings.get(pointer.did)
        if holding is not None:
            return with_hint(holding, pointer.hint)
        if pointer.hint is not None and pointer.hint.parts:
            return pointer.hint
        return answer.missing[pointer.did]

    def _outside(self, pointer: Pointer) -> Holding | Reason:
        if pointer.host is None:
            return _unknown(pointer, pointer.why)
        site = self._hosts.site_of(pointer.host)
        if site is None:
            return _unknown(pointer, f"no site is known to have the host {pointer.host}")
        return outside_holding(pointer, site)


def _unknown(pointer: Pointer, why: str) -> Reason:
    return reason(ReasonCode.DATA_PLACE_UNKNOWN, data=pointer.name, why=why)
