"""Stages one session in a process of its own, which can be killed and whose memory is its own.

``python -m tests.unit.node.staging.stage_once FOLDER SESSION CACHE_GIB MAX_FILE_BYTES`` stages the
document in ``FOLDER/document.json``, and prints a line of JSON: the failure, or null, and how much
the peak of its memory rose, in bytes. ``MAX_FILE_BYTES`` 0 is no limit of the process.
"""

import asyncio
import json
import re
import resource
import sys
from pathlib import Path
from typing import Final
from uuid import UUID

from tests.unit.node.staging.sessions import loopback, running_stager, staged, workspace_in

WITHIN_S: Final = 240.0
"""The cores may be shared with everything else that is tested."""

_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def peak_bytes() -> int:
    """The most memory that this program has had; what `getrusage` says is also its parent's."""
    found = _PEAK.search(Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


async def main(folder: Path, session: UUID, cache_gib: float) -> None:
    document = json.loads((folder / "document.json").read_text())
    settings = loopback(cache_gib=cache_gib, file_timeout_s=WITHIN_S)
    async with running_stager(folder, settings) as stager:
        before = peak_bytes()
        workspace = workspace_in(folder, session)
        state = await staged(stager, workspace, document, shares_files=True, within_s=WITHIN_S)
    failure = None if state.failure is None else state.failure.text
    print(json.dumps({"failure": failure, "memory_bytes": peak_bytes() - before}))


if __name__ == "__main__":
    if limit := int(sys.argv[4]):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    asyncio.run(main(Path(sys.argv[1]), UUID(sys.argv[2]), float(sys.argv[3])))
