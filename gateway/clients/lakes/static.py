"""A catalogue in a file: the lake of demos, of tests, and of those who have no other."""

from collections.abc import Collection, Iterable, Mapping

from gateway.clients.lakes.base import Health
from gateway.domain.holdings import Did, Holding, LocateResult
from gateway.domain.reasons import ReasonCode, reason


class StaticLake:
    """Knows what it was given, at once and for ever."""

    def __init__(self, name: str, holdings: Iterable[Holding]) -> None:
        self.name = name
        self._holdings: Mapping[Did, Holding] = {
            holding.did: holding for holding in holdings if holding.did is not None
        }

    async def locate(self, dids: Collection[Did], *, deadline: float) -> LocateResult:
        """What the file says of each."""
        del deadline
        return LocateResult(
            {did: self._holdings[did] for did in dids if did in self._holdings},
            {
                did: reason(ReasonCode.DATA_NOT_FOUND, data=did)
                for did in dids
                if did not in self._holdings
            },
        )

    async def health(self, *, deadline: float) -> Health:
        """Always well."""
        del deadline
        return Health(self.name, is_up=True, detail=f"{len(self._holdings)} entries")
