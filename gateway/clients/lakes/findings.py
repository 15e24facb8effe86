"""Where a lake client puts what it finds out: told on at once, and complete at the end."""

from collections.abc import Collection, Iterable
from typing import Final

import structlog

from gateway.clients.lakes.base import Settled
from gateway.clients.lakes.errors import LakeError, LakeRequestError
from gateway.domain.holdings import Did, Holding, LocateResult
from gateway.domain.reasons import Reason, ReasonCode, reason

REFUSED: Final = "the data lake refuses the identifier"
"""Why the place of data is not known that the lake takes for misnamed."""

_log = structlog.stdlib.get_logger(__name__)


class Findings:
    """The answer to one question in the making. Every identifier ends in exactly one of both."""

    def __init__(self, lake: str, dids: Collection[Did], settled: Settled) -> None:
        self._lake = lake
        self._settled = settled
        self._open = dict.fromkeys(dids)
        self._holdings: dict[Did, Holding] = {}
        self._missing: dict[Did, Reason] = {}

    def hold(self, did: Did, holding: Holding, *, is_open: bool = False) -> None:
        """It was found; a second time, it was found out better."""
        self._holdings[did] = holding
        self._missing.pop(did, None)
        self._settled(did, holding, is_open=is_open)

    def not_found(self, did: Did) -> None:
        """The lake does not know it."""
        self._miss(did, reason(ReasonCode.DATA_NOT_FOUND, data=did))

    def refused(self, dids: Iterable[Did]) -> None:
        """The lake does not take them for identifiers."""
        for did in dids:
            self._miss(did, reason(ReasonCode.DATA_PLACE_UNKNOWN, data=did, why=REFUSED))

    def failed(self, dids: Iterable[Did], error: LakeError) -> None:
        """The lake could not be asked about these; what was found before stays found."""
        lost = [did for did in dids if did not in self._holdings]
        _log.info("lake_call_failed", lake=self._lake, error=str(error), data=len(lost))
        if isinstance(error, LakeRequestError):
            self.refused(lost)
            return
        for did in lost:
            self._miss(did, error.to_reason(self._lake))

    def result(self) -> LocateResult:
        """All of it. What the lake said nothing about is not known, rather than not there."""
        silent = reason(
            ReasonCode.LAKE_INVALID_ANSWER, lake=self._lake, detail="it leaves out what was asked"
        )
        for did in self._open:
            if did not in self._holdings and did not in self._missing:
                self._miss(did, silent)
        return LocateResult(self._holdings, self._missing)

    def _miss(self, did: Did, why: Reason) -> None:
        if did not in self._holdings:
            self._missing[did] = why
            self._settled(did, why, is_open=False)
