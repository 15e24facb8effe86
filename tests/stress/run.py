"""Many sessions through a gateway to three nodes, offers accepted as they come.

``python -m tests.stress.run --sessions 100 --seconds 5``: none may be lost, none run twice, and
nothing may be left. Prints how long all of it took, and what it cost the node brokers.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from gateway.wire.phases import TERMINAL_SESSION_PHASES
from gateway.wire.retry_after import retry_after_s
from tests.platforms.conformance.witnesses import RESULTS_DIR, left_of
from tests.stress.federation import Federation, Node, engine_if_any, running_federation
from tests.support.waiting import eventually

AT_ONCE: Final = 8
"""Requests under way at the same time."""

LOOK_EVERY_S: Final = 0.25
"""How often a session is looked at that should have ended."""

OFFER_WITHIN_S: Final = 60.0
"""A request finds room within this time, however much is booked."""

END_WITHIN_S: Final = 90.0
"""A session comes to its end within this time after it should have."""

CLEAR_WITHIN_S: Final = 30.0

_ENDED: Final = frozenset(phase.value for phase in TERMINAL_SESSION_PHASES)
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of one request. ``took_s`` is from its offer's acceptance to its end.

    So many times it was ``turned_away`` for being too much, and came again.
    """

    number: int
    session: UUID
    node: str
    phase: str
    took_s: float
    turned_away: int


@dataclass(slots=True)
class Taken:
    """A request on its way to its session and node."""

    turned_away: int = 0
    session: UUID | None = None
    node: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of processor time that a node broker took itself, and its children."""

    node: Node
    own_s: float
    children_s: float

    def since(self, before: "Cost") -> "Cost":
        """What it took since then."""
        own_s, children_s = self.own_s - before.own_s, self.children_s - before.children_s
        return Cost(self.node, own_s, children_s)


@dataclass(frozen=True, slots=True)
class Result:
    """How it went. ``runs`` counts by number how often a job wrote that it ran."""

    seconds: int
    total_s: float
    ran: tuple[Ran, ...]
    runs: Counter[int]
    costs: tuple[Cost, ...]
    left: tuple[str, ...]

    def lost(self) -> list[Ran]:
        """What did not end well, or left no trace of having run."""
        return [it for it in self.ran if it.phase != "COMPLETED" or not self.runs[it.number]]

    def repeated(self) -> list[int]:
        """The numbers of jobs that ran more than once."""
        return [number for number, count in self.runs.items() if count > 1]

    def lines(self) -> Iterator[str]:
        """The report."""
        count = len(self.ran)
        yield f"{count} sessions of {self.seconds} s took {self.total_s:.1f} s in all"
        yield f"lost: {len(self.lost())}, run twice: {len(self.repeated())}, left: {len(self.left)}"
        turned_away = sum(it.turned_away for it in self.ran)
        yield f"turned away for a moment, and come again: {turned_away} times"
        shares = Counter(it.node for it in self.ran)
        for cost in self.costs:
            share = shares[cost.node.name]
            each_ms = 1000 * cost.own_s / max(1, share)
            yield (
                f"node {cost.node.name} ({cost.node.platform}): {share} sessions, "
                f"{cost.own_s:.2f} s of CPU, {each_ms:.0f} ms a session, "
                f"and {cost.children_s:.2f} s in its children"
            )
        over = sorted(it.took_s - self.seconds for it in self.ran)
        if len(over) > 1:
            longest = statistics.quantiles(over, n=20)[-1]
            yield (
                f"a session took {statistics.median(over):.2f} s longer than its job, "
                f"one in twenty more than {longest:.2f} s"
            )
        yield from (f"LOST {it}" for it in self.lost())
        yield from (f"RUN TWICE {number}" for number in self.repeated())
        yield from (f"LEFT {line}" for line in self.left)

    @property
    def is_good(self) -> bool:
        """Whether all ran once and nothing is left."""
        return not (self.lost() or self.repeated() or self.left)


async def stress(sessions: int, seconds: int, data_dir: Path) -> Result:
    """Run so many sessions of so many seconds each."""
    mark = uuid4().hex
    with engine_if_any() as engine:
        async with running_federation(data_dir, engine, mark) as federation:
            before = tuple(_cost(node) for node in federation.nodes)
            began = time.monotonic()
            at_once = asyncio.Semaphore(AT_ONCE)
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(_run(federation, number, seconds, at_once))
                    for number in range(sessions)
                ]
            total_s = time.monotonic() - began
            ran = tuple(task.result() for task in tasks)
            left = await _left(federation, ran)
            costs = tuple(_cost(cost.node).since(cost) for cost in before)
            runs = await asyncio.to_thread(_runs, federation.nodes)
    return Result(seconds, total_s, ran, runs, costs, left)


async def _run(
    federation: Federation, number: int, seconds: int, at_once: asyncio.Semaphore
) -> Ran:
    """One request: asked, accepted, awaited."""
    async with at_once:
        taken = await _accepted(federation, number, seconds)
    session = taken.session
    assert session is not None
    began = time.monotonic()
    await asyncio.sleep(seconds)
    phase = ""
    while phase not in _ENDED and time.monotonic() < began + seconds + END_WITHIN_S:
        await asyncio.sleep(LOOK_EVERY_S)
        phase = (await federation.gateway.read(session))["phase"]
    took_s = time.monotonic() - began
    return Ran(number, session, taken.node, phase, took_s, taken.turned_away)


async def _accepted(federation: Federation, number: int, seconds: int) -> Taken:
    """The session of the first offer that could be accepted, and its node.

    Each number has another node to begin with: the gateway would name the same first until it is
    full.
    """
    request = federation.request(number, seconds)
    first = number % len(federation.nodes)
    turn = [node.name for node in (*federation.nodes[first:], *federation.nodes[:first])]

    taken = Taken()

    async def accept() -> bool:
        answer = await federation.gateway.ask(request, "?per_node=1")
        if answer.status == 503 and answer.document["type"].endswith("/overloaded"):
            taken.turned_away += 1
            # Asked for by the server: to come earlier is what makes overload last.
            await asyncio.sleep(retry_after_s(answer.headers) or 0.0)
            return False
        assert answer.status == 303, answer.text
        offers = answer.document.get("offers", ())
        for offer in sorted(offers, key=lambda it: turn.index(it["federation"]["node"])):
            uuid = offer["meta"]["uuid"]
            if (await federation.gateway.move(uuid, "ACCEPTED")).status < 400:
                taken.session, taken.node = UUID(uuid), offer["federation"]["node"]
                return True
        return False

    await eventually(accept, OFFER_WITHIN_S)
    return taken


def _cost(node: Node) -> Cost:
    """From ``/proc/PID/stat``, fields 14 to 17 (proc(5)); its name may hold blanks."""
    text = Path(f"/proc/{node.pid}/stat").read_text()
    fields = text.rpartition(")")[2].split()
    own, system, children, children_system = (int(field) / _TICKS_PER_S for field in fields[11:15])
    return Cost(node, own + system, children + children_system)


def _runs(nodes: Sequence[Node]) -> Counter[int]:
    """What the jobs wrote, as far as it came into the archives."""
    runs: Counter[int] = Counter()
    for node in nodes:
        for path in (node.data_dir / RESULTS_DIR).rglob("ran"):
            runs.update(int(line) for line in path.read_text().split())
    return runs


async def _left(federation: Federation, ran: Sequence[Ran]) -> tuple[str, ...]:
    """What is still left of the sessions when there was time to clear it away."""
    lines: tuple[str, ...] = ()

    async def is_clear() -> bool:
        nonlocal lines
        lines = await asyncio.to_thread(_look, federation, ran)
        return not lines

    try:
        await eventually(is_clear, CLEAR_WITHIN_S)
    except AssertionError:
        return lines
    return ()


def _look(federation: Federation, ran: Sequence[Ran]) -> tuple[str, ...]:
    folders = [node.data_dir for node in federation.nodes]
    lines = left_of([it.session for it in ran], federation.mark, *folders)
    if federation.engine is not None:
        lines += [f"container {it['Names']}" for it in federation.engine.containers()]
        volumes = federation.engine.request("GET", "/volumes")["Volumes"] or []
        lines += [f"volume {volume['Name']}" for volume in volumes]
    return tuple(lines)


def main() -> int:
    """Run it and print the report; 1 if it was not good."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=5, help="how long each job sleeps")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="eb-stress-") as folder:
        result = asyncio.run(stress(options.sessions, options.seconds, Path(folder)))
    for line in result.lines():
        print(line)
    return 0 if result.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
