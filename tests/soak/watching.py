"""What the gateway's process holds over time, and whether it grows."""

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from tests.soak.world import World

EVERY_S: Final = 1.0
"""Time between two looks."""

MIN_SAMPLES: Final = 10
"""Through fewer points a line says nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """At ``at_s`` (monotonic) this process had so much memory of its own and so many files open.

    Memory counts wherever the kernel has put it, in RAM or in swap.
    """

    at_s: float
    pid: int
    memory_mib: float
    fds: int


class Watch:
    """Looks at the gateway's process again and again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.samples: list[Sample] = []

    async def look_until(self, ended: asyncio.Event) -> None:
        """Take samples until the end."""
        while not ended.is_set():
            if self._world.is_up and (sample := _sample(self._world.gateway.pid)):
                self.samples.append(sample)
            try:
                async with asyncio.timeout(EVERY_S):
                    await ended.wait()
            except TimeoutError:
                continue

    def steady(self) -> list[Sample]:
        """Those of the second half that are of the process which ran last."""
        last = self.samples[-1].pid if self.samples else 0
        half = self.samples[len(self.samples) // 2 :]
        return [sample for sample in half if sample.pid == last]


def waited_s(pid: int) -> float:
    """How long the process's first thread has waited for a processor so far.

    The second number of ``/proc/PID/schedstat`` (Linux, sched-stats); 0 where there is none.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def growth(samples: Sequence[tuple[float, float]]) -> float:
    """How much the straight line through the points rises from the first to the last."""
    if len(samples) < 2:
        return 0.0
    count = len(samples)
    mean_x = sum(x for x, _ in samples) / count
    mean_y = sum(y for _, y in samples) / count
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    if not spread:
        return 0.0
    slope = sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread
    return slope * (samples[-1][0] - samples[0][0])


def defects(log: Path, odd_nodes: Collection[str] = ()) -> Counter[str]:
    """The events of the level error and above, and lines that are no events: by their text.

    That ``odd_nodes`` could not be told of a rejection before their offers expired is no defect.
    """
    found: Counter[str] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            found[f"no event: {line[:200]}"] += 1
            continue
        is_given_up = event.get("event") == "command_given_up" and event.get("node") in odd_nodes
        if event.get("level") in {"error", "critical"} and not is_given_up:
            detail = str(event.get("exception") or event.get("why") or "")
            found[f"{event.get('event')} {detail[-600:]}".strip()] += 1
    return found


def _sample(pid: int) -> Sample | None:
    """From ``/proc/PID`` (proc(5)); None where it has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        fds = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return None
    sizes = dict(line.split(":", 1) for line in status.splitlines())
    if "RssAnon" not in sizes:
        return None
    kib = sum(int(sizes[name].split()[0]) for name in ("RssAnon", "VmSwap"))
    return Sample(monotonic(), pid, kib / 1024, fds)
