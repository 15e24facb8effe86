"""What the ledger and a request for slots cost, by how much is booked.

Told as a ratio to a hundred bookings: what grows linearly shows 10 for a thousand, 100 for ten
thousand. What a round shows is the best of several tries.

The site is as good as booked out: a gap after each booking is a second too short for what is
asked for, so that each search walks through all of them.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import process_time

from node_stub.fitting import Fit, FittingRequest, fit
from node_stub.ledger import Amounts, Booking, Ledger, Part, Span
from tests.bench.figures import Figure

SITE = Amounts(cores=64, memory_gib=256, storage_gib=10_000)
ASKED = Amounts(cores=8, memory_gib=32, storage_gib=10)
RUN_S = 60
PERIOD_S = 120  # of the bookings, which leave just too little time between them


def booked_out(bookings: int) -> Ledger:
    """As many bookings, each of 60 of the 64 cores and some storage, one after the other."""
    ledger = Ledger(SITE)
    taken = Amounts(cores=60, memory_gib=200)
    for number in range(bookings):
        start = number * PERIOD_S
        end = start + PERIOD_S - RUN_S + 1
        spans = (Span(start, end, taken), Span(start, end + 5, Amounts(storage_gib=5)))
        ledger.add(Booking(str(number), spans))
    return ledger


def seconds(act: Callable[[], object], rounds: int) -> float:
    """Processor time of one call: the best of three."""
    best = float("inf")
    for _ in range(3):
        before = process_time()
        for _ in range(rounds):
            act()
        best = min(best, (process_time() - before) / rounds)
    return best


@dataclass(frozen=True)
class Case:
    """One thing that is measured."""

    name: str
    act: Callable[[Ledger, int], object]


def search(ledger: Ledger, end: int) -> object:
    """Find the first start for one shape, behind everything booked."""
    parts = (Part(5, RUN_S, Amounts(8, 32)), Part(10, RUN_S, Amounts(storage_gib=10)))
    return ledger.timeline.earliest(0, end, parts)


def request_by(wanted: Fit) -> Callable[[Ledger, int], object]:
    """Find four slots, the first of them behind everything booked."""

    def ask(ledger: Ledger, end: int) -> object:
        return fit(
            FittingRequest(
                now=0,
                minimum=ASKED,
                limits=SITE,
                duration_s=RUN_S,
                max_duration_s=3_600,
                windows=[(0, end)],
                prepare_s=10,
                compute_prepare_s=5,
                fit=wanted,
            ),
            ledger,
        )

    return ask


def add_and_remove(ledger: Ledger, end: int) -> None:
    """Hold and let go in the midst of all bookings, where lists are slowest to change."""
    start = end // 2
    ledger.add(Booking("probe", (Span(start, start + RUN_S, Amounts(1, 1, 1)),)))
    ledger.remove("probe")


CASES = (
    Case("one search", search),
    Case("request, earliest", request_by(Fit.EARLIEST)),
    Case("request, most cores", request_by(Fit.MOST_CORES)),
    Case("request, mixed", request_by(Fit.MIXED)),
    Case("add and remove", add_and_remove),
)


def figures(options: argparse.Namespace) -> Sequence[Figure]:
    """Every case by how much is booked, in turns."""
    ledgers = {bookings: booked_out(bookings) for bookings in options.bookings}
    rounds = [
        {
            (case.name, bookings): seconds(
                partial(case.act, ledger, (bookings + 100) * PERIOD_S), max(1, 1_000 // bookings)
            )
            for case in CASES
            for bookings, ledger in ledgers.items()
        }
        for _ in range(options.rounds)
    ]
    least, *more = options.bookings
    return [
        Figure(
            f"ledger, {case.name}, {bookings} booked",
            f"x {least} booked",
            tuple(one[case.name, bookings] / one[case.name, least] for one in rounds),
            note=f"{min(one[case.name, bookings] for one in rounds) * 1e6:.0f} µs",
        )
        for case in CASES
        for bookings in more
    ]
