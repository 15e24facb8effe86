"""What is left once a session has ended: other offers are let go, and no ledger holds a thing."""

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import aiohttp
from rich.console import Console

from gateway.cli import render
from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.demo.errors import DemoError
from gateway.cli.demo.federation import Federation
from gateway.cli.errors import BrokerUnavailableError
from gateway.cli.summary import OfferSummary
from gateway.wire.phases import SessionPhase

RELEASE_S: Final = 10.0
"""How long the other nodes may take to let their holds go."""

BOOKINGS_METRIC: Final = "execbroker_node_ledger_bookings"
"""What a node's ``/metrics`` calls the number of its holds and bookings."""

_LOOK_EVERY_S: Final = 0.1


async def show_released(to: Console, running: Federation, others: Sequence[OfferSummary]) -> None:
    """Ask the nodes themselves what became of the offers that were not taken.

    Raises
    ------
    DemoError
        One of them is still held.
    """
    for offer in others:
        url = running.node_urls.get(offer.node or "")
        if url is None:
            raise DemoError(f"offer {offer.uuid} does not say which node made it")
        phase = None
        async with ExecutionBrokerClient(url) as client:
            async for session in client.watch(UUID(offer.uuid), deadline_s=RELEASE_S):
                phase = session.get("phase")
        to.print(render.safe(f"  {offer.node:<6} {offer.uuid} is {phase}"))
        if phase != SessionPhase.REJECTED:
            raise DemoError(f"a hold at {offer.node} was not let go: it is {phase}")


async def show_ledgers(to: Console, running: Federation) -> None:
    """Holds of offers that the gateway never handed out are gone as well: the ledgers are empty.

    Raises
    ------
    DemoError
        One of them is not.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=RELEASE_S)) as http:
        for name, url in running.node_urls.items():
            left = await _bookings(http, url)
            give_up = time.monotonic() + RELEASE_S
            while left and time.monotonic() < give_up:
                await asyncio.sleep(_LOOK_EVERY_S)
                left = await _bookings(http, url)
            to.print(f"  {name:<6} {left} holds and bookings left in its ledger")
            if left:
                raise DemoError(f"{name} still holds resources that nobody wants")


async def _bookings(http: aiohttp.ClientSession, url: str) -> int:
    try:
        async with http.get(f"{url}/metrics") as response:
            found = re.search(rf"^{BOOKINGS_METRIC} (\S+)$", await response.text(), re.MULTILINE)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise BrokerUnavailableError(url, f"no metrics: {error}") from error
    if found is None:
        raise DemoError(f"{url}/metrics does not count {BOOKINGS_METRIC}")
    return int(float(found[1]))
