"""Misbehaving nodes as an operator runs them: ``execbroker-node misbehave`` in its own process."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.wire.documents import from_json
from tests.support.node import START_TIMEOUT_S, NodeProcess


@asynccontextmanager
async def misbehaving(
    names: str, *arguments: str, log: Path | None = None
) -> AsyncIterator[NodeProcess]:
    """A node that behaves as these names say; killed at the end if it still runs.

    What it logs goes to ``log``, or nowhere.
    """
    with (log or Path("/dev/null")).open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "node_stub", "misbehave", "--as", names, *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_S)
        listening = from_json(line)
        assert listening["event"] == "listening"
        yield NodeProcess(listening["url"], process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
