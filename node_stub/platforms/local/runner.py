"""The platform `local`: programs of the site and notebooks, as sandboxed processes on this machine.

A job is a shim and what it runs. All that is known of it is in files of the workspace, so a broker
that comes back finds it as it left it. The shim is made of `shim.BOOT`; a job that was begun twice
is run by the first shim to make ``run.json``.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

import structlog

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.appraisal import Appraisal
from node_stub.clock import Clock
from node_stub.platforms.base import (
    EndReason,
    Health,
    JobPhase,
    JobRefusedError,
    Observation,
    PlatformError,
)
from node_stub.platforms.local import notebook_python, supervision
from node_stub.platforms.local.appraising import appraise, resolve
from node_stub.platforms.local.cgroups import find_groups
from node_stub.platforms.local.jobs import (
    PREPARED_FILE,
    is_running,
    observe_files,
    read_run,
)
from node_stub.platforms.local.launching import (
    launch_of,
    make_directories,
    place_volumes,
    show_notebook,
    show_users,
)
from node_stub.platforms.local.notebook_job import BAD_NOTEBOOK
from node_stub.platforms.local.programs import Invocation
from node_stub.platforms.local.settings import LocalSettings
from node_stub.platforms.local.setup import Setup, candidates
from node_stub.platforms.local.shim_files import EXIT_FILE, STOP_FILE, put
from node_stub.platforms.local.supervision import Shim
from node_stub.platforms.local.trial import first_that_works
from node_stub.platforms.runner import RunSpec, Workspace

_log = structlog.get_logger(__name__)


class LocalRunner:
    """Runs jobs as processes. One instance for one directory of workspaces."""

    name = "local"
    poll_s = 5.0
    """A job that ends is seen at once; this is for a shim whose end was overlooked."""

    def __init__(self, settings: LocalSettings, root: Path, clock: Clock) -> None:
        self._settings = settings
        self._root = root.resolve()
        self._clock = clock
        self._setup: Setup | None = None
        self._trouble = "the platform is not open"
        self._shims: dict[UUID, Shim] = {}
        self._hint: Callable[[UUID], None] = lambda _: None

    @property
    def kinds(self) -> frozenset[str]:
        """Containers if there are programs for any, notebooks if they are configured."""
        offered = set()
        if self._settings.programs:
            offered.add(kinds.DOCKER_CONTAINER)
        if self._settings.notebook is not None:
            offered.add(kinds.JUPYTER_NOTEBOOK)
        return frozenset(offered)

    @property
    def can_mount_read_only(self) -> bool:
        """Whether there is a sandbox, known once this is open."""
        return self._setup is not None and not self._setup.is_plain

    async def open(self, hint: Callable[[UUID], None]) -> None:
        """Find out what works here, by running a job in it."""
        self._hint = hint
        await asyncio.to_thread(self._root.mkdir, mode=0o700, parents=True, exist_ok=True)
        groups = await asyncio.to_thread(find_groups, self._root, self._settings.cgroup)
        trial = candidates(self._settings, groups)
        self._setup, self._trouble = await first_that_works(trial, self._root)
        if self._setup is None:
            _log.warning("local_sandbox_missing", trouble=self._trouble)
            return
        python = None
        if self._settings.notebook is not None:
            python = await notebook_python.look_at(self._settings.notebook)
        self._setup = replace(self._setup, notebook=python)
        _log.info(
            "local_sandbox_found",
            sandbox=self._setup.choice.value,
            user=self._setup.user,
            passed_over=self._trouble,
            notebooks=None if python is None else python.trouble or "yes",
        )

    async def close(self) -> None:
        """Let go of the shims; they go on."""
        for session in list(self._shims):
            self._let_go(session)
        self._setup, self._trouble = None, "the platform is not open"

    async def probe(self) -> Health:
        """Whether a sandbox was found to work, and which."""
        if self._setup is None:
            return Health(is_up=False, detail=self._trouble)
        return Health(is_up=True, detail=f"sandbox {self._setup.choice}")

    async def estimate(self, document: Document) -> Appraisal:
        """Whether a request can be run, and how."""
        return await asyncio.to_thread(appraise, self._ready(), document)

    async def prepare(self, run: RunSpec) -> None:
        """Look for the program; a notebook is fetched by others."""
        setup = self._ready()
        if run.executable["kind"] != kinds.JUPYTER_NOTEBOOK:
            await asyncio.to_thread(_program_of, setup, run)
        await asyncio.to_thread(_prepare, run)

    async def launch(self, run: RunSpec) -> None:
        """Start the job's shim, unless there is or was one, or the job is to be stopped."""
        # The shim has only the machine's clock to go by, which may have been set.
        end_at = self._clock.on_machine(run.end_at)
        shim = await asyncio.to_thread(_launch, self._ready(), replace(run, end_at=end_at))
        if shim is not None:
            self._watch(run.session, shim)

    async def observe(self, workspaces: Sequence[Workspace]) -> Mapping[UUID, Observation]:
        """Look at the files of jobs, and at their shims."""
        alive = {session: is_running(shim.descriptor) for session, shim in self._shims.items()}
        now = self._clock.now()
        seen, found = await asyncio.to_thread(_observe, self._setup, workspaces, alive, now)
        for session, shim in found.items():
            self._watch(session, shim)
        for session, observation in seen.items():
            if observation.phase in (JobPhase.ENDED, JobPhase.LOST, JobPhase.GONE):
                self._let_go(session)
        return seen

    async def stop(self, workspace: Workspace, grace_s: float) -> None:
        """Ask the job's shim to end it."""
        await asyncio.to_thread(supervision.ask_to_stop, workspace.run, grace_s)

    async def release(self, workspace: Workspace) -> None:
        """End the job, and remove its groups and its run directory."""
        await asyncio.to_thread(_release, self._setup, workspace)
        self._let_go(workspace.session)

    async def recover(self) -> Sequence[UUID]:
        """Every session that has a run directory or a control group here."""
        return await asyncio.to_thread(_recover, self._setup, self._root)

    def _ready(self) -> Setup:
        if self._setup is None:
            raise PlatformError(self._trouble)
        return self._setup

    def _watch(self, session: UUID, shim: Shim) -> None:
        if session in self._shims:
            os.close(shim.descriptor)
            return
        self._shims[session] = shim
        asyncio.get_running_loop().add_reader(shim.descriptor, self._ended, session)

    def _ended(self, session: UUID) -> None:
        shim = self._shims[session]
        asyncio.get_running_loop().remove_reader(shim.descriptor)
        supervision.collect(shim.pid)
        self._hint(session)

    def _let_go(self, session: UUID) -> None:
        shim = self._shims.pop(session, None)
        if shim is not None:
            asyncio.get_running_loop().remove_reader(shim.descriptor)
            supervision.collect(shim.pid)
            os.close(shim.descriptor)


def _program_of(setup: Setup, run: RunSpec) -> Invocation:
    resolved = resolve(setup, run.executable)
    if resolved.invocation is None:
        remark = resolved.remarks[0]
        values = ", ".join(remark.values.values())
        raise JobRefusedError(EndReason.IMAGE, f"{remark.reason.kind}: {values}")
    return resolved.invocation


def _prepare(run: RunSpec) -> None:
    try:
        make_directories(run.workspace)
        put(str(run.workspace.run), PREPARED_FILE, {"session": str(run.session)})
    except OSError as error:
        raise PlatformError(f"the job's directories cannot be made: {error}") from error


def _launch(setup: Setup, run: RunSpec) -> Shim | None:
    files = run.workspace.run
    if not (files / PREPARED_FILE).exists():
        raise PlatformError("the job is not prepared, or has been released")
    if (files / STOP_FILE).exists() or read_run(files) is not None:
        return None
    try:
        show_users(setup, run.workspace)
        invocation = _invocation_of(setup, run)
        place_volumes(setup, run)
    except OSError as error:
        raise JobRefusedError(EndReason.LAUNCH, f"the job's files: {error}") from error
    is_notebook = run.executable["kind"] == kinds.JUPYTER_NOTEBOOK
    reasons = {str(BAD_NOTEBOOK): EndReason.IMAGE.value} if is_notebook else {}
    return supervision.start(files, launch_of(setup, run, invocation, reasons))


def _invocation_of(setup: Setup, run: RunSpec) -> Invocation:
    if run.executable["kind"] != kinds.JUPYTER_NOTEBOOK:
        return _program_of(setup, run)
    if setup.notebook is None or setup.notebook.trouble:
        raise JobRefusedError(EndReason.LAUNCH, "notebooks cannot be run here")
    texts, values = run.executable.get("environment"), run.executable.get("parameters")
    return show_notebook(setup, run.workspace, texts or {}, values or {})


def _observe(
    setup: Setup | None,
    workspaces: Sequence[Workspace],
    alive: Mapping[UUID, bool],
    now: datetime,
) -> tuple[dict[UUID, Observation], dict[UUID, Shim]]:
    """What is seen, and the shims that were found running."""
    seen, found = {}, {}
    for workspace in workspaces:
        session, files = workspace.session, workspace.run
        is_alive = alive.get(session, False)
        if session not in alive and not (files / EXIT_FILE).exists():
            shim = supervision.find(files)
            if shim is not None:
                found[session] = shim
                is_alive = True
        observation = observe_files(files, now, is_alive=is_alive)
        if observation.phase is JobPhase.LOST:
            observation = _after_loss(setup, workspace, observation)
        seen[session] = observation
    return seen, found


def _after_loss(setup: Setup | None, workspace: Workspace, lost: Observation) -> Observation:
    """A job is lost when nothing of it runs; until then it is ending."""
    groups = [] if setup is None else setup.groups.paths(workspace.session)
    try:
        supervision.clear(workspace.session, workspace.run, groups)
    except PlatformError as error:
        return replace(lost, phase=JobPhase.STOPPING, reason=None, text=str(error))
    return lost


def _release(setup: Setup | None, workspace: Workspace) -> None:
    groups = [] if setup is None else setup.groups.paths(workspace.session)
    supervision.end(workspace.run)
    supervision.clear(workspace.session, workspace.run, groups)
    supervision.remove(workspace.run)


def _recover(setup: Setup | None, root: Path) -> list[UUID]:
    found = set() if setup is None else setup.groups.sessions()
    for run in root.glob("*/run"):
        try:
            found.add(UUID(run.parent.name))
        except ValueError:
            continue
    return sorted(found)
