"""What every data lake can be asked. Knows no HTTP library."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.domain.holdings import Did, Holding, LocateResult
from gateway.domain.reasons import Reason, ReasonCode

LAKE_TROUBLE: Final = frozenset(
    {
        ReasonCode.LAKE_UNAVAILABLE,
        ReasonCode.LAKE_TIMEOUT,
        ReasonCode.LAKE_RESTING,
        ReasonCode.LAKE_FAILED,
        ReasonCode.LAKE_REFUSED_CREDENTIALS,
        ReasonCode.LAKE_INVALID_ANSWER,
    }
)
"""Reasons that say nothing about the data: the lake could not be asked, or made no sense."""


@dataclass(frozen=True, slots=True)
class Health:
    """How a lake is now; ``detail`` is its version where all is well, else what is wrong."""

    lake: str
    is_up: bool
    detail: str


class DataLake(Protocol):
    """Says where data are."""

    name: str

    async def locate(self, dids: Collection[Did], *, deadline: float) -> LocateResult:
        """What is known of each of these by ``deadline``, a time of the running loop.

        Never raises because of the lake: what goes wrong is in the answer.
        """
        ...

    async def health(self, *, deadline: float) -> Health:
        """How the lake is now. Never raises because of it."""
        ...


class Settled(Protocol):
    """Told of each identifier as soon as something is known; it may be told again, better.

    ``is_open``: the answer may soon be another, since more files may be added.
    """

    def __call__(self, did: Did, outcome: Holding | Reason, *, is_open: bool) -> None:
        """Take it in."""
        ...


class LakeClient(Protocol):
    """Speaks to one catalogue: keeps no answers, and asks again whenever it is asked."""

    name: str

    async def locate(
        self, dids: Collection[Did], *, deadline: float, settled: Settled
    ) -> LocateResult:
        """As ``DataLake.locate``, and tells ``settled`` of what is known before all is."""
        ...

    async def health(self, *, deadline: float) -> Health:
        """How the lake is now. Never raises because of it."""
        ...
