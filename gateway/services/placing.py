"""Where a request's data lie, what that means for each node, and what each node is told of it."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from gateway.domain.enrichment import Enriched, enrich
from gateway.domain.holdings import Holding, Located, Topology
from gateway.domain.network import Network, NodePlace, TransferModel
from gateway.domain.node import NodeProfile
from gateway.domain.placement import NodePlacement, place
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.services.registry import RegisteredNode
from gateway.settings import PlacementSettings
from gateway.wire.documents import Document
from gateway.wire.views import DataView

MAX_NOTES: Final = 10
"""Messages about data in one answer; a request may have a thousand resources."""

PLACE_AT_LEAST_S: Final = 0.2
"""So long placing may take in any case, also where looking the data up took all the time."""

_OFFLOAD: Final = 20_000
"""Data resources times nodes from which on the loop is not kept waiting: some 20 ms."""


class Locates(Protocol):
    """Finds out where data are."""

    async def locate(self, data: Sequence[DataView], deadline: float) -> Located:
        """Every resource is found, or it is said why not, by ``deadline`` (event loop time).

        Never raises because of a data lake.
        """
        ...


@dataclass(slots=True)
class Placed:
    """What was found out for one request."""

    located: Located
    network: Network
    places: dict[str, NodePlace]
    placements: dict[str, NodePlacement]
    _bodies: dict[tuple[frozenset[str], bool], Enriched] = field(default_factory=dict)

    def enriched(self, document: Document, profile: NodeProfile) -> Enriched:
        """The request as this node gets it; nodes in the same place share theirs."""
        home = self.network.home_of(self.places[profile.name])
        key = (home, profile.simple_data)
        if key not in self._bodies:
            self._bodies[key] = enrich(
                document,
                self.located.holdings,
                self.network,
                home,
                simple_data=profile.simple_data,
            )
        return self._bodies[key]

    def messages(self, now: datetime) -> list[Document]:
        """What clients are told of the lake and of data that cannot be placed."""
        notes = [*self.located.notes]
        notes += [why for _, why in sorted(self.located.missing.items())]
        for _, holding in sorted(self.located.holdings.items()):
            notes += _remarks(holding)
        unique = list({(note.code, *sorted(note.values.items())): note for note in notes}.values())
        return [note.to_message(now) for note in unique[:MAX_NOTES]]


def _remarks(holding: Holding) -> list[Reason]:
    data = str(holding.did or "a data resource")
    remarks = []
    if holding.is_stale:
        remarks.append(reason(ReasonCode.LOCATIONS_STALE, data=data, age_s=round(holding.age_s)))
    if not holding.parts:
        remarks.append(reason(ReasonCode.COLLECTION_TOO_LARGE, data=data))
    elif not any(copy.is_readable for part in holding.parts for copy in part.copies):
        remarks.append(reason(ReasonCode.DATA_WITHOUT_REPLICA, data=data))
    elif any(part.bytes is None for part in holding.parts):
        remarks.append(reason(ReasonCode.DATA_SIZE_UNKNOWN, data=data))
    return remarks


class PlacingService:
    """Places the data of requests. Without a ``locator`` there is no data lake to ask."""

    def __init__(self, locator: Locates | None, settings: PlacementSettings) -> None:
        self._locator = locator
        self._settings = settings
        self._model = TransferModel(
            usual_bytes_per_s=round(settings.usual_gbit_s * 1e9 / 8),
            setup_ms=round(settings.setup_s * 1000),
            tape_ms=round(settings.tape_s * 1000),
        )
        self._network: Network | None = None
        self._mapped: tuple[NodePlace, ...] = ()

    async def place(
        self,
        data: Sequence[DataView],
        nodes: Iterable[RegisteredNode],
        *,
        wait_s: float,
        now: datetime,
    ) -> Placed | None:
        """Locate the data and place them for every node; None where there is nothing to place.

        Takes no more of the ``wait_s`` that the client waits than the settings allow.
        """
        if self._locator is None or not data:
            return None
        budget_s = min(self._settings.locate_s, wait_s * self._settings.locate_share)
        deadline = asyncio.get_running_loop().time() + budget_s
        located = await self._locator.locate(data, deadline)
        places = [_place_of(node, now) for node in nodes]
        network = self._network_of(located.topology, places)
        if len(data) * len(places) >= _OFFLOAD:
            try:
                placements = await _place_by(deadline, located, places, network)
            except TimeoutError:
                located = _given_up(located, len(data), len(places))
                placements = place(located, places, network)
        else:
            placements = place(located, places, network)
        return Placed(located, network, {one.node: one for one in places}, placements)

    def _network_of(self, topology: Topology, places: list[NodePlace]) -> Network:
        """The map, made anew only when the topology or the nodes have changed."""
        mapped = tuple(NodePlace(one.node, one.site, one.rses) for one in places)
        network = self._network
        if network is None or network.topology is not topology or mapped != self._mapped:
            network = self._network = Network(topology, mapped, self._model)
            self._mapped = mapped
        return network


async def _place_by(
    deadline: float, located: Located, places: list[NodePlace], network: Network
) -> dict[str, NodePlacement]:
    """The placements, in a thread: who gives up leaves it behind, and it ends by itself.

    Raises
    ------
    TimeoutError
        They were not there by the deadline.
    """
    at_least = asyncio.get_running_loop().time() + PLACE_AT_LEAST_S
    async with asyncio.timeout_at(max(deadline, at_least)):
        return await asyncio.to_thread(place, located, places, network)


def _given_up(located: Located, resources: int, nodes: int) -> Located:
    """The same as if nobody knew where the data lie, and why."""
    why = reason(ReasonCode.TOO_MUCH_TO_PLACE, resources=resources, nodes=nodes)
    return replace(located, holdings={}, missing=dict.fromkeys(range(resources), why))


def _place_of(node: RegisteredNode, now: datetime) -> NodePlace:
    profile = node.profile
    return NodePlace(
        profile.name, profile.site, frozenset(profile.storage), node.staging_record.as_of(now)
    )
