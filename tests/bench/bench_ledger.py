"""What the ledger and a request for slots cost, by how much is booked.

Run as `python -m tests.bench.bench_ledger`. Each column is the best of several rounds; in brackets
how many times that of the first row. The bookings grow tenfold from row to row, so a column that
grows linearly shows 1x, 10x, 100x, 1000x.

The site is as good as booked out: a gap after each booking is a second too short for what is
asked for, so that each search walks through all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import process_time

from node_stub.fitting import Fit, FittingRequest, fit
from node_stub.ledger import Amounts, Booking, Ledger, Part, Span

SIZES = (100, 1_000, 10_000, 100_000)
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
    """Processor time of one call: the best of five."""
    best = float("inf")
    for _ in range(5):
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


def main() -> None:
    """Print the table."""
    print(f"{'bookings':>9}" + "".join(f"{case.name:>26}" for case in CASES))
    first: dict[str, float] = {}
    for bookings in SIZES:
        ledger = booked_out(bookings)
        end = (bookings + 100) * PERIOD_S
        line = f"{bookings:>9}"
        for case in CASES:
            took = seconds(partial(case.act, ledger, end), max(1, 1_000 // bookings))
            ratio = took / first.setdefault(case.name, took)
            line += f"{took * 1e6:>13.0f} us ({ratio:>6.1f}x)"
        print(line)


if __name__ == "__main__":
    main()
