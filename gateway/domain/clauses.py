"""The clauses of a request, and how many offers pass each: the table of who passed what.

It is made from the reasons that the judging left, so it says nothing that was not decided so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.domain.reasons import Reason, ReasonCode
from gateway.domain.record import RankingRecord
from gateway.wire.documents import Document
from gateway.wire.times import DailyWindow, format_duration, format_interval
from gateway.wire.views import Bounds, Quote, RequestView

_C = ReasonCode

_HOLD: Final = frozenset({_C.NOT_OFFERED, _C.EXPIRED, _C.EXPIRES_TOO_SOON})
UNREADABLE: Final = frozenset({_C.INVALID_OFFER, _C.DUPLICATE_OFFER})
"""Of offers with these reasons nothing else was looked at."""

_TIME_CLAUSES: Final[Mapping[str, tuple[frozenset[ReasonCode], frozenset[ReasonCode]]]] = {
    "duration": (frozenset({_C.TOO_SHORT}), frozenset({_C.DURATION_UNKNOWN})),
    "start": (frozenset({_C.START_OUTSIDE_WINDOW, _C.NO_START}), frozenset({_C.START_UNKNOWN})),
    "daily": (frozenset({_C.OUTSIDE_DAILY_WINDOW, _C.NO_START}), frozenset({_C.START_UNKNOWN})),
}
_COST_FAILS: Final = frozenset({_C.OVER_COST_LIMIT})
_COST_DOUBTS: Final = frozenset({_C.COST_NOT_REPORTED, _C.MAY_EXCEED_COST_LIMIT})
_METRIC_FAILS: Final = frozenset({_C.BELOW_METRIC_LIMIT, _C.ABOVE_METRIC_LIMIT})
_METRIC_DOUBTS: Final = frozenset({_C.METRIC_NOT_REPORTED, _C.MAY_MISS_METRIC_LIMIT})


@dataclass(frozen=True, slots=True)
class Clause:
    """One thing that the request asks of every offer.

    An offer fails it where one of the ``fails`` was said of it, and it is not sure where one of the
    ``doubts`` was. Codes that are used for several clauses have a value, given by ``member`` and
    ``value``, that tells which one is meant.
    """

    name: str
    wanted: str
    fails: frozenset[ReasonCode]
    doubts: frozenset[ReasonCode] = frozenset()
    member: str = ""
    value: str = ""

    def fails_in(self, reasons: Iterable[Reason]) -> bool:
        """Whether one of these reasons is that the clause is not met."""
        return any(why.code in self.fails and self._is_meant(why) for why in reasons)

    def doubts_in(self, reasons: Iterable[Reason]) -> bool:
        """Whether one of these reasons is that nobody can say."""
        return any(why.code in self.doubts and self._is_meant(why) for why in reasons)

    def _is_meant(self, why: Reason) -> bool:
        return why.values.get(self.member, self.value) == self.value


@dataclass(slots=True)
class Tally:
    """How many offers pass a clause, fail it, or may do either."""

    passed: int = 0
    failed: int = 0
    unsure: int = 0

    def to_document(self) -> Document:
        """The counts by name."""
        return {"passed": self.passed, "failed": self.failed, "unsure": self.unsure}


def clauses_of(request: RequestView) -> tuple[Clause, ...]:
    """What the request asks for, in the order in which it is looked at."""
    return (
        Clause("readable", "an offer that can be passed on", UNREADABLE),
        Clause("hold", "held long enough to be accepted", _HOLD, frozenset({_C.EXPIRY_UNKNOWN})),
        *_amounts(request),
        *_times(request),
        *(_limit("cost", quote, _COST_FAILS, _COST_DOUBTS) for quote in request.cost_limits),
        *(
            _limit("metric", quote, _METRIC_FAILS, _METRIC_DOUBTS)
            for quote in request.metric_limits
        ),
    )


def clause_table(request: RequestView, record: RankingRecord) -> list[Document]:
    """For each clause how many offers pass, of all nodes and of each."""
    said = [(one.node, one.notes) for one in record.candidates]
    said += [(one.node, (*one.reasons, *one.notes)) for one in record.rejected]
    return [_row(clause, said) for clause in clauses_of(request)]


def _row(clause: Clause, said: Iterable[tuple[str, tuple[Reason, ...]]]) -> Document:
    total, by_node = Tally(), dict[str, Tally]()
    for node, reasons in said:
        if clause.fails is not UNREADABLE and any(why.code in UNREADABLE for why in reasons):
            continue
        of_node = by_node.setdefault(node, Tally())
        fails, doubts = clause.fails_in(reasons), clause.doubts_in(reasons)
        for tally in (total, of_node):
            tally.failed += fails
            tally.unsure += doubts and not fails
            tally.passed += not fails and not doubts
    return {
        "clause": clause.name,
        "wanted": clause.wanted,
        **total.to_document(),
        "nodes": [{"node": node, **by_node[node].to_document()} for node in sorted(by_node)],
    }


def _amounts(request: RequestView) -> Iterable[Clause]:
    amounts = (
        ("cores", request.cores, _C.BELOW_MINIMUM_CORES, _C.ABOVE_MAXIMUM_CORES),
        ("memory", request.memory_gib, _C.BELOW_MINIMUM_MEMORY, _C.ABOVE_MAXIMUM_MEMORY),
        ("storage", request.storage_gib, _C.BELOW_MINIMUM_STORAGE, _C.ABOVE_MAXIMUM_STORAGE),
    )
    for name, bounds, below, above in amounts:
        if bounds.min is None and bounds.max is None:
            continue
        fails, doubts = frozenset({below, above}), frozenset({_C.AMOUNT_UNKNOWN})
        yield Clause(name, _range(bounds), fails, doubts, "resource", name)


def _times(request: RequestView) -> Iterable[Clause]:
    wanted = {
        "duration": format_duration(request.duration) if request.duration else None,
        "start": " or ".join(format_interval(start) for start in request.starts) or None,
        "daily": _daily(request.daily) if request.daily else None,
    }
    for name, text in wanted.items():
        if text is not None:
            fails, doubts = _TIME_CLAUSES[name]
            yield Clause(name, text, fails, doubts)


def _limit(
    what: str, quote: Quote, fails: frozenset[ReasonCode], doubts: frozenset[ReasonCode]
) -> Clause:
    short = quote.type.rpartition(":")[2]
    return Clause(f"{what} {short}", _range(quote), fails, doubts, "type", quote.type)


def _daily(window: DailyWindow) -> str:
    return f"{window.start:%H:%M} to {window.end:%H:%M} {window.zone.key}"


def _range(bounds: Bounds | Quote) -> str:
    if bounds.min is None and bounds.max is None:
        return "any"
    if bounds.min is None:
        return f"at most {bounds.max:.12g}"
    if bounds.max is None:
        return f"at least {bounds.min:.12g}"
    return f"{bounds.min:.12g} to {bounds.max:.12g}"
