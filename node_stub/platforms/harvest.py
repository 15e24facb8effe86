"""What came out of a job is sent where the request wants it, and kept in the archive."""

from collections.abc import Iterator
from posixpath import normpath
from typing import Final
from uuid import UUID

from gateway.wire.documents import Document
from node_stub.archive import Archive, Output, Report
from node_stub.platforms.base import (
    EndReason,
    JobSpec,
    Observation,
    Stream,
    Unarchived,
    UnarchivedError,
    Usage,
)
from node_stub.platforms.runner import Workspace
from node_stub.staging.layout import mounts, places, storage_folder, uuid_of
from node_stub.staging.names import safe_name
from node_stub.staging.push import Pusher, PushError
from node_stub.staging.reading import block, components

NOT_SENT: Final = "Nothing was sent anywhere: the execution did not end well."
"""Said where results were to be sent and are only kept."""

MAX_SENT_NOTES: Final = 100
"""So many of the files that were sent are named."""


class Harvester:
    """Keeps what came out of jobs."""

    def __init__(self, archive: Archive, pusher: Pusher) -> None:
        self._archive = archive
        self._pusher = pusher
        # What became of it is remembered until it is kept: nothing is sent again meanwhile.
        self._sent: dict[UUID, tuple[tuple[str, ...], tuple[str, ...]]] = {}

    async def keep(self, spec: JobSpec, workspace: Workspace, ended: Observation) -> None:
        """Send and keep what a job left, once: what is kept already stays as it is.

        Raises
        ------
        UnarchivedError
            The archive cannot take it; nothing is lost.
        """
        if await self._archive.report(spec.session) is not None:
            return
        if spec.session not in self._sent:
            self._sent[spec.session] = await self._send(spec, workspace, ended)
        notes, unsent = self._sent[spec.session]
        report = Report(
            exit_code=ended.exit_code,
            reason=ended.reason,
            text=ended.text,
            started=ended.started,
            ended=ended.ended,
            usage=ended.usage or Usage(),
            notes=notes,
            unsent=unsent,
        )
        logs = {stream: workspace.log(stream) for stream in Stream}
        outputs = list(outputs_of(spec.document, workspace))
        try:
            await self._archive.keep(spec.session, report, logs, outputs)
        except OSError as error:
            place = "/".join(workspace.root.parts[-2:])
            why = error.strerror or str(error)
            raise UnarchivedError(Unarchived(ended.reason, ended.exit_code, why, place)) from error
        del self._sent[spec.session]

    async def _send(
        self, spec: JobSpec, workspace: Workspace, ended: Observation
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Notes on what was sent, and what could not be sent."""
        wanted = [store for store in components(spec.document, "storage") if store.get("location")]
        if not wanted:
            return (), ()
        if ended.reason is not EndReason.OK:
            return (NOT_SENT,), ()
        unsent: tuple[str, ...] = ()
        try:
            report = await self._pusher.push(spec.document, workspace)
        except PushError as error:
            report, unsent = error.report, (str(error),)
        sent = [file for file in report.files if file.error is None]
        notes = [f"{file.path} was sent to {file.url}" for file in sent[:MAX_SENT_NOTES]]
        return tuple(notes), unsent


def outputs_of(document: Document, workspace: Workspace) -> Iterator[Output]:
    """The directories that a job writes to, without what was staged there.

    The home is the top; a storage resource that some volume lets the job write to is kept under its
    own name.
    """
    mounted = mounts(document, workspace)
    inside = frozenset(normpath(m.target) for m in mounted if not m.target.startswith("/"))
    yield Output(workspace.home, "", inside)
    staged = {place.folder for place in places(document, workspace).values()}
    writable = {mount.source for mount in mounted if not mount.is_read_only}
    for store in components(document, "storage"):
        folder = storage_folder(workspace, uuid_of(store))
        if folder in writable:
            skip = frozenset(place.name for place in staged if place.parent == folder)
            name = block(store, "meta").get("name")
            yield Output(folder, safe_name(name or folder.name), skip)
