"""A broker that launches one job and then waits to be killed.

Arguments: directory of the workspaces, sandbox, session, script.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from gateway.wire import kinds
from node_stub.clock import SystemClock
from node_stub.platforms.local.runner import LocalRunner
from node_stub.platforms.local.settings import LocalSettings, SandboxChoice
from node_stub.platforms.runner import RunSpec, Workspace
from tests.platforms.local.jobs import SHELL


async def main(root: Path, choice: SandboxChoice, session: UUID, script: str) -> None:
    """Launch it, say so, and wait."""
    settings = LocalSettings(programs=(SHELL,), sandbox=choice)
    runner = LocalRunner(settings, root, SystemClock())
    await runner.open(lambda _: None)
    spec = RunSpec(
        workspace=Workspace(session, root / str(session)),
        executable={
            "kind": kinds.DOCKER_CONTAINER,
            "image": {"locations": list(SHELL.images)},
            "command": [script],
        },
        cores=1,
        memory_gib=1,
        storage_gib=1,
        end_at=datetime.now(UTC) + timedelta(seconds=60),
        mounts=(),
        log_bytes=1_000_000,
    )
    await runner.prepare(spec)
    await runner.launch(spec)
    sys.stdout.write("launched\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    # structlog writes to standard output until it is told otherwise.
    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(Path(sys.argv[1]), SandboxChoice(sys.argv[2]), UUID(sys.argv[3]), sys.argv[4]))
