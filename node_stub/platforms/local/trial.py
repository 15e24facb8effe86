"""Tries a setup by really running a job in it, before anything is offered."""

import asyncio
import os
import select
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from node_stub.platforms.base import EndReason, PlatformError, Stream
from node_stub.platforms.local import supervision
from node_stub.platforms.local.jobs import observe_files
from node_stub.platforms.local.launching import launch_of, make_directories, show_users
from node_stub.platforms.local.programs import Invocation
from node_stub.platforms.local.settings import SYSTEM_PATHS
from node_stub.platforms.local.setup import Setup, Trial
from node_stub.platforms.runner import Mount, RunSpec, Workspace

TRY_WITHIN_S: Final = 10.0
"""A trial takes 0.1 s; one that hangs is a setup that does not work."""

_CHECK: Final = (
    'echo x >"$HOME/mine" || exit 3; test -z "$1" || ! (echo x >"$1/theirs") 2>/dev/null'
)
"""That the home can be written to (or exit code 3), and a READONLY volume cannot (or 1)."""

_READ_ONLY: Final = "/volumes/trial"


async def first_that_works(trial: Trial, root: Path) -> tuple[Setup | None, str]:
    """The best setup that works, or why there is none."""
    troubles = list(trial.troubles)
    for setup in trial.setups:
        trouble = await asyncio.to_thread(_try, setup, root)
        if not trouble:
            return setup, "; ".join(troubles)
        grouped = "with control groups" if setup.groups.hierarchies else "without control groups"
        troubles.append(f"{setup.choice} {grouped}: {trouble}")
    return None, "; ".join(troubles)


def _try(setup: Setup, root: Path) -> str:
    """Why a setup does not work; empty if it does."""
    session = uuid4()
    workspace = Workspace(session, root / str(session))
    try:
        return _run(setup, workspace)
    except (PlatformError, OSError) as error:
        return str(error)
    finally:
        _clear(session, setup, workspace)


def _run(setup: Setup, workspace: Workspace) -> str:
    # Whatever paths jobs may see: the check is a shell's.
    system = tuple(path for path in SYSTEM_PATHS if Path(path).exists())
    setup = replace(setup, paths=system)
    source = workspace.storage / "trial"
    for path in (workspace.home, source):
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
    make_directories(workspace)
    show_users(setup, workspace)
    run = RunSpec(
        workspace=workspace,
        executable={},
        cores=1,
        memory_gib=1,
        storage_gib=1,
        end_at=datetime.now(UTC) + timedelta(seconds=TRY_WITHIN_S),
        mounts=() if setup.is_plain else (Mount(source, _READ_ONLY, is_read_only=True),),
        log_bytes=10_000,
    )
    argument = "" if setup.is_plain else _READ_ONLY
    invocation = Invocation(("/bin/sh", "-c", _CHECK, "trial", argument))
    shim = supervision.start(workspace.run, launch_of(setup, run, invocation, {}))
    assert shim is not None
    has_ended = bool(select.select([shim.descriptor], [], [], TRY_WITHIN_S)[0])
    os.close(shim.descriptor)
    if not has_ended:
        return f"a trial did not end within {TRY_WITHIN_S:.0f} s"
    supervision.collect(shim.pid)
    seen = observe_files(workspace.run, datetime.now(UTC), is_alive=False)
    if seen.reason is EndReason.OK:
        return ""
    said = workspace.log(Stream.STDERR)
    words = said.read_text("utf-8", "replace").strip() if said.exists() else ""
    parts = (f"{seen.reason} with exit code {seen.exit_code}", seen.text, words)
    return "; ".join(part for part in parts if part)


def _clear(session: UUID, setup: Setup, workspace: Workspace) -> None:
    """Best effort: what is left is found as an orphan of ours."""
    try:
        supervision.end(workspace.run)
        supervision.clear(session, workspace.run, setup.groups.paths(session))
        supervision.remove(workspace.root)
    except PlatformError:
        return
