"""Several lakes as one, each for the namespaces that are its own."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gateway.clients.lakes.base import LAKE_TROUBLE, DataLake, Health
from gateway.domain.holdings import Did, Holding, LocateResult
from gateway.domain.reasons import Reason, ReasonCode, reason


@dataclass(frozen=True, slots=True)
class LakeRoute:
    """A lake and what it is asked about: scopes that match a pattern (``ska-*``); none is all."""

    lake: DataLake
    namespaces: tuple[str, ...] = ()

    def is_for(self, did: Did) -> bool:
        """Whether the lake may know it."""
        return not self.namespaces or any(
            fnmatchcase(did.scope, pattern) for pattern in self.namespaces
        )


class CombinedLake:
    """Asks every lake that may know, all at once. The first of them that does is believed."""

    def __init__(self, routes: Iterable[LakeRoute], name: str = "data lakes") -> None:
        self.name = name
        self._routes = tuple(routes)

    async def locate(self, dids: Collection[Did], *, deadline: float) -> LocateResult:
        """What any lake knows of each; of what none knows, whether one of them could not be asked.

        Copies in different lakes are not put together: two names may be one and the same copy.
        """
        asked = [
            (route, own) for route in self._routes if (own := [d for d in dids if route.is_for(d)])
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(route.lake.locate(own, deadline=deadline)) for route, own in asked
            ]
        results = [task.result() for task in tasks]
        notes: list[Reason] = []
        for result in results:
            notes += [note for note in result.notes if note not in notes]
        holdings: dict[Did, Holding] = {}
        missing: dict[Did, Reason] = {}
        for did in dids:
            found = next((r.holdings[did] for r in results if did in r.holdings), None)
            if found is not None:
                holdings[did] = found
            else:
                missing[did] = _why(did, [r.missing[did] for r in results if did in r.missing])
        return LocateResult(holdings, missing, tuple(notes))

    async def health(self, *, deadline: float) -> Health:
        """Whether all of them are well."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(route.lake.health(deadline=deadline)) for route in self._routes
            ]
        healths = [task.result() for task in tasks]
        detail = "; ".join(f"{health.lake}: {health.detail}" for health in healths)
        return Health(self.name, all(health.is_up for health in healths), detail)


def _why(did: Did, reasons: Sequence[Reason]) -> Reason:
    """That a lake could not be asked outweighs that others do not know: nobody can say."""
    if not reasons:
        why = f"no data lake here is for {did.scope}"
        return reason(ReasonCode.DATA_PLACE_UNKNOWN, data=did, why=why)
    return next((why for why in reasons if why.code in LAKE_TROUBLE), reasons[0])
