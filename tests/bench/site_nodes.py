"""Sites as they are: most answer, some are slow or dead. One process, a port for each.

Run as ``python -m tests.bench.site_nodes COUNT FAULTY SLOW_S SEED``, where the share ``FAULTY`` of
the sites is at fault; with ``STUMBLES QUICKEST_S SLOWEST_S`` behind it the others take as long as
the last two say, and half a second for the share ``STUMBLES`` of their answers. The first line on
standard output is a JSON object of ``urls`` and ``sorts``, one of each for every site. ``GET
/counts`` at a healthy one tells how often each path was asked.
"""

import asyncio
import gc
import json
import random
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from enum import StrEnum
from functools import partial
from typing import Final

from tests.bench.stub_nodes import Connection, StubNode

QUICKEST_S: Final = 0.005
SLOWEST_S: Final = 0.03
"""A healthy site takes between these: a broker with a database, in the same country."""

STUMBLE_S: Final = 0.5
"""What an answer takes now and then: a full collection of a large heap, a lost segment or two."""

OFFERS: Final = 2
"""As many as the gateway keeps of each node, so that little has to be let go."""


class Sort(StrEnum):
    """What a site is."""

    HEALTHY = "healthy"
    HUNG = "hung"
    """Takes connections and requests, and never answers."""
    REFUSING = "refusing"
    """Nobody listens."""
    SLOW = "slow"
    """Every other answer comes long after any deadline."""


_FAULTY: Final = (Sort.HUNG, Sort.SLOW, Sort.REFUSING)


def sorts(count: int, faulty: float) -> list[Sort]:
    """What each of so many sites is; those at fault are spread evenly."""
    kinds = []
    done = 0
    for number in range(1, count + 1):
        if round(number * faulty) > done:
            kinds.append(_FAULTY[done % len(_FAULTY)])
            done += 1
        else:
            kinds.append(Sort.HEALTHY)
    return kinds


def _delays(
    sort: Sort,
    slow_s: float,
    stumbles: float,
    took_s: tuple[float, float],
    chance: random.Random,
) -> Callable[[], float]:
    is_slow = False

    def delay_s() -> float:
        nonlocal is_slow
        if sort is Sort.HUNG:
            return 1e6
        is_slow = sort is Sort.SLOW and not is_slow
        if is_slow:
            return slow_s
        is_stumbling = chance.random() < stumbles
        return STUMBLE_S if is_stumbling else chance.uniform(*took_s)

    return delay_s


async def serve(
    count: int,
    faulty: float,
    slow_s: float,
    seed: int,
    stumbles: float,
    took_s: tuple[float, float],
) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    chance = random.Random(seed)
    found = sorts(count, faulty)
    urls = []
    with ExitStack() as stack:
        for sort in found:
            if sort is Sort.REFUSING:
                taken = stack.enter_context(socket.socket())
                taken.bind(("127.0.0.1", 0))
                port = taken.getsockname()[1]
            else:
                delays = _delays(sort, slow_s, stumbles, took_s, chance)
                connection = partial(Connection, StubNode(OFFERS), delays)
                server = await loop.create_server(connection, "127.0.0.1", 0, backlog=512)
                port = server.sockets[0].getsockname()[1]
            urls.append(f"http://127.0.0.1:{port}")
        print(json.dumps({"urls": urls, "sorts": found}), flush=True)
        gc.freeze()
        await asyncio.Event().wait()


if __name__ == "__main__":
    given = [*map(float, sys.argv[1:])]
    count, faulty, slow_s, seed = given[:4]
    stumbles, quickest_s, slowest_s = given[4:] or (0.0, QUICKEST_S, SLOWEST_S)
    took_s = (quickest_s, slowest_s)
    asyncio.run(serve(int(count), faulty, slow_s, int(seed), stumbles, took_s))
