"""Jobs that write more than they asked for are ended: no quota stops them, so they are measured."""

import asyncio

import structlog

from gateway.wire.documents import Document
from node_stub.platforms.base import EndReason, JobPhase, JobSpec, PlatformError
from node_stub.platforms.runner import Runner
from node_stub.platforms.workspaces import Verdict, Workspaces
from node_stub.staging.layout import storage_bytes, storage_folder, uuid_of
from node_stub.staging.measuring import measure
from node_stub.staging.room import BYTES_PER_GIB

_log = structlog.get_logger(__name__)


class StorageWatch:
    """Measures what running jobs have written, again and again."""

    def __init__(
        self, runner: Runner, workspaces: Workspaces, home_gib: int, stop_grace_s: float
    ) -> None:
        self._runner = runner
        self._workspaces = workspaces
        self._home_gib = home_gib
        self._stop_grace_s = stop_grace_s

    async def run(self, every_s: float) -> None:
        """Measure until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self._look()
            except (PlatformError, OSError) as error:
                _log.warning("storage_not_measured", reason=str(error))

    async def _look(self) -> None:
        sessions = await asyncio.to_thread(self._workspaces.sessions)
        seen = await self._runner.observe([self._workspaces.of(session) for session in sessions])
        for session in sessions:
            if session in seen and seen[session].phase is JobPhase.RUNNING:
                spec = await asyncio.to_thread(self._workspaces.job, session)
                if spec is not None:
                    await self._check(spec)

    async def _check(self, spec: JobSpec) -> None:
        workspace = self._workspaces.of(spec.session)
        limits = {workspace.home: ("its home", self._home_gib * BYTES_PER_GIB)}
        for store in spec.document.get("storage") or ():
            limits[storage_folder(workspace, uuid_of(store))] = (
                _name_of(store),
                storage_bytes(store),
            )
        for path, (what, limit) in limits.items():
            written = await measure(path)
            if written > limit:
                text = f"{written} bytes are in {what}, more than {limit}"
                verdict = Verdict(EndReason.STORAGE, text)
                await asyncio.to_thread(self._workspaces.condemn, spec.session, verdict)
                _log.warning("storage_exceeded", session=str(spec.session), reason=text)
                await self._runner.stop(workspace, self._stop_grace_s)
                return


def _name_of(store: Document) -> str:
    name: str = store["meta"].get("name") or store["meta"]["uuid"]
    return name
