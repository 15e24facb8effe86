"""What must be true at the end, whatever happened: looked up at the gateway and at every node."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.wire.phases import EXECUTION_PHASES, TERMINAL_SESSION_PHASES, SessionPhase
from tests.soak.told import TAKEN, Told
from tests.soak.watching import MIN_SAMPLES, Sample, defects, growth
from tests.soak.world import DEADLINE_S, SLOTS
from tests.support.crashing import ran_at

MARGIN_S: Final = 1.0
"""Allowed beyond the deadline for 99 of 100 answers: ten processes share two cores here."""

MEMORY_GROWTH_MIB: Final = 24.0
MEMORY_GROWTH_MIB_PER_MIN: Final = 1.0
"""What the process may grow by while it is watched: what it takes from its start until its caches
are full, and beyond that less than a leak of a kilobyte for every call."""

FD_GROWTH: Final = 8
"""Files and sockets: connections to nodes that come and go."""

ENDED: Final = frozenset(phase.value for phase in TERMINAL_SESSION_PHASES)
LET_GO: Final = frozenset({SessionPhase.REJECTED.value, SessionPhase.CANCELLED.value})
"""What an owner no longer wants stays so, also where its node had come to another end before."""

UNDERWAY: Final = frozenset(phase.value for phase in EXECUTION_PHASES)

PENDING: Final = "SELECT (SELECT count(*) FROM commands) + (SELECT count(*) FROM unkept_holds)"
"""What nodes are still to be told: commands about sessions, and holds that nobody was shown."""


@dataclass(frozen=True, slots=True)
class Row:
    """A session in a database; ``node`` where the gateway's says so."""

    uuid: str
    offerset: str
    phase: str
    node: str = ""


def pending_commands(database: Path) -> int:
    """How many commands of the gateway are not delivered, those to let go of holds included."""
    (count,) = _rows(database, PENDING)[0]
    return int(count)


def gateway_sessions(database: Path) -> dict[str, Row]:
    """Every session that the gateway knows."""
    rows = _rows(database, "SELECT uuid, offerset, phase, node FROM sessions")
    return {row[0]: Row(*row) for row in rows}


def node_sessions(data_dir: Path) -> dict[str, Row]:
    """Every session that a node knows."""
    rows = _rows(data_dir / "node.db", "SELECT uuid, offerset, phase FROM sessions")
    return {row[0]: Row(*row) for row in rows}


def broken_promises(
    known: dict[str, Row], pending: int, nodes: Sequence[Path], told: Told
) -> Iterator[str]:
    """What is not as it must be, once all have come to rest.

    ``known`` are the gateway's sessions, ``pending`` its commands that are not delivered, and
    ``nodes`` are the folders of the real nodes, named like them.
    """
    if pending:
        yield f"{pending} commands are still pending"
    yield from _gateway_alone(known, told)
    completed: defaultdict[str, list[str]] = defaultdict(list)
    for node in nodes:
        name, there, ran = node.name, node_sessions(node), ran_at(node)
        for offer in told.accepted.values():
            if offer.node == name and offer.session not in ran:
                yield f"{offer.session} was accepted, and node {name} never took it up"
        for uuid in ran:
            here = known.get(uuid)
            if here is None:
                yield f"node {name} ran {uuid}, of which the gateway knows nothing"
                continue
            yield from _disagreement(name, here, there.get(uuid))
            if uuid in there and there[uuid].phase == "COMPLETED":
                completed[here.offerset].append(uuid)
    for offerset, uuids in completed.items():
        if len(uuids) > 1:
            yield f"offer set {offerset} was executed {len(uuids)} times: {sorted(uuids)}"


def broken_bounds(log: Path, told: Told, steady: Sequence[Sample]) -> Iterator[str]:
    """What took too long or grew too much, or was logged as a defect by the gateway."""
    late_s = percentile(told.ask_s, 0.99)
    if late_s > DEADLINE_S + MARGIN_S:
        yield f"one answer in a hundred took more than {late_s:.2f} s"
    if len(steady) >= MIN_SAMPLES:
        minutes = (steady[-1].at_s - steady[0].at_s) / 60
        memory_mib = growth([(sample.at_s, sample.memory_mib) for sample in steady])
        if memory_mib > MEMORY_GROWTH_MIB + MEMORY_GROWTH_MIB_PER_MIN * minutes:
            yield f"memory grew by {memory_mib:.1f} MiB in {minutes:.1f} min"
        if (fds := growth([(sample.at_s, sample.fds) for sample in steady])) > FD_GROWTH:
            yield f"open files grew by {fds:.1f} in {minutes:.1f} min"
    for text, count in defects(log, SLOTS).items():
        yield f"logged {count} times: {text}"


def percentile(values: Sequence[float], part: float) -> float:
    """The value that this part of all do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def _gateway_alone(known: dict[str, Row], told: Told) -> Iterator[str]:
    taken: defaultdict[str, list[str]] = defaultdict(list)
    for row in known.values():
        if row.phase in TAKEN:
            taken[row.offerset].append(row.uuid)
        if row.phase in UNDERWAY:
            yield f"{row.uuid} at {row.node} has not come to its end: {row.phase}"
    for offerset, uuids in taken.items():
        if len(uuids) > 1:
            yield f"offer set {offerset} has {len(uuids)} accepted sessions"
    for uuid in told.accepted:
        if uuid not in known:
            yield f"{uuid} was accepted, and the gateway knows nothing of it"
        elif known[uuid].phase not in ENDED:
            yield f"{uuid} was accepted and has no end: {known[uuid].phase}"


def _disagreement(name: str, here: Row, there: Row | None) -> Iterator[str]:
    if there is None:
        yield f"node {name} ran {here.uuid} and has forgotten it"
    elif there.phase not in ENDED:
        yield f"node {name} has {here.uuid} still in phase {there.phase}"
    elif here.phase not in {there.phase, *LET_GO}:
        yield f"node {name} has {here.uuid} in phase {there.phase}, the gateway {here.phase}"


def _rows(database: Path, query: str) -> list[tuple[str, ...]]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
