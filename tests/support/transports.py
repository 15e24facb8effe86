"""What the tests of all transports share."""

import asyncio
from typing import Final

from gateway.clients.exchange import NodeTransport, Progress, Reply, Timeouts

MAX_REPLY_BYTES: Final = 64 << 10
"""Small, so that an answer over the limit is quickly sent."""


async def ask(
    transport: NodeTransport,
    url: str,
    method: str = "POST",
    *,
    body: bytes | None = None,
    wait_s: float = 2.0,
    progress: Progress | None = None,
) -> Reply:
    """One exchange within ``wait_s``; what is posted has a body in any case."""
    until = asyncio.get_running_loop().time() + wait_s
    sent = b"{}" if body is None and method == "POST" else body
    return await transport.exchange(
        method, url + "/requests", {}, sent, timeouts=Timeouts(until, 1.0), progress=progress
    )
