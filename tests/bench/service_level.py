"""The fan-out alone, with decoding, against the bare fan-out: both in this process, in turns.

Run as ``python -m tests.bench.service_level ROUNDS SECONDS CALLERS URL...``. Prints one JSON line.
"""

import asyncio
import gc
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import aiohttp
import structlog
from prometheus_client import CollectorRegistry

from gateway.clients.broker import BrokerClient, CallContext
from gateway.clients.transport import AiohttpTransport
from gateway.domain.node import NodeProfile
from gateway.services.fanout import FanoutService, NodeAnswer, NodeQuestion
from gateway.services.fanout_metrics import FanoutMetrics
from gateway.services.registry import NodeRegistry
from tests.bench.baseline import ask_all

BODY = json.dumps({"note": "x" * 2400}).encode()
"""About the size of a full request."""


async def _not_late(answer: NodeAnswer) -> None:
    message = f"{answer.node} was late"
    raise RuntimeError(message)


async def _measure(ask: Callable[[], Awaitable[None]], seconds: float, callers: int) -> float:
    """CPU seconds of this process for one request."""
    until = time.monotonic() + seconds

    async def repeat() -> int:
        done = 0
        while time.monotonic() < until:
            await ask()
            done += 1
        return done

    began = time.process_time()
    done = sum(await asyncio.gather(*(repeat() for _ in range(callers))))
    return (time.process_time() - began) / done


async def run(rounds: int, seconds: float, callers: int, urls: Sequence[str]) -> None:
    """Measure in turns and print the rounds."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        cache_logger_on_first_use=True,
    )
    registry = NodeRegistry(lambda: datetime.now(UTC))
    fanout = FanoutService(registry, FanoutMetrics(CollectorRegistry()))
    loop = asyncio.get_running_loop()
    async with AiohttpTransport() as transport, aiohttp.ClientSession() as bare:
        for i, url in enumerate(urls):
            registry.add(BrokerClient(NodeProfile(f"node-{i:03}", url), transport))
        names = [node.name for node in registry]
        targets = [url + "/requests" for url in urls]

        async def ask() -> None:
            now = loop.time()
            call = CallContext(request_id="bench", idempotency_key="bench")
            result = await fanout.ask(
                [NodeQuestion(name, BODY, call) for name in names],
                deadline=now + 30,
                late_until=now + 60,
                on_late=_not_late,
            )
            if not all(answer.offers for answer in result.answers):
                raise RuntimeError(str(result.answers)[:2000])

        async def ask_bare() -> None:
            await ask_all(bare, targets, BODY)

        for warm in (ask, ask_bare):
            await _measure(warm, 0.5, callers)
        gc.collect()
        gc.freeze()
        pairs = [
            (await _measure(ask_bare, seconds, callers), await _measure(ask, seconds, callers))
            for _ in range(rounds)
        ]
        print(json.dumps(pairs), flush=True)
        await fanout.aclose()


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
