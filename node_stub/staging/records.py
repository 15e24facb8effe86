"""How far a session's staging has come: what is told of it, and what is written down.

``staging.json`` in the workspace has what was asked for, so that a broker that was started again
can go on, and in the end how it went.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from gateway.wire.documents import Document
from gateway.wire.phases import ComponentPhase
from node_stub.durable import write_whole
from node_stub.platforms.base import EndReason
from node_stub.platforms.runner import Workspace
from node_stub.staging.files import disk_trouble
from node_stub.standing import Component

FILE_NAME: Final = "staging.json"


@dataclass(frozen=True, slots=True)
class StagingSpec:
    """What to stage: the storage, data and notebook of a session document, and where.

    ``shares_files``: a job cannot write to what is mounted READONLY, so files may be shared.
    """

    workspace: Workspace
    document: Document
    shares_files: bool


class StagingFailure(msgspec.Struct, frozen=True):
    """Why a session cannot have its data, and which component is to blame."""

    component: Component
    reason: EndReason
    text: str


@dataclass(frozen=True, slots=True)
class StagingState:
    """How far it has come.

    ``components`` are storage, data, and, if a notebook is fetched, the executable. Neither ready
    nor failed is still at work. ``bytes_staged`` were fetched in ``staging_s`` seconds.
    """

    components: Mapping[Component, ComponentPhase] = field(default_factory=dict)
    is_ready: bool = False
    failure: StagingFailure | None = None
    bytes_staged: int = 0
    staging_s: float = 0.0

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen."""
        return self.is_ready or self.failure is not None


class _Record(msgspec.Struct, frozen=True):
    document: dict[str, Any]
    shares_files: bool
    is_ready: bool = False
    failure: StagingFailure | None = None
    components: dict[Component, ComponentPhase] = msgspec.field(default_factory=dict)
    bytes_staged: int = 0
    staging_s: float = 0.0


def write_record(spec: StagingSpec, state: StagingState) -> None:
    """Write down what was asked for and how it went. Blocks: call it in a thread.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    record = _Record(
        document=spec.document,
        shares_files=spec.shares_files,
        is_ready=state.is_ready,
        failure=state.failure,
        components=dict(state.components),
        bytes_staged=state.bytes_staged,
        staging_s=state.staging_s,
    )
    with disk_trouble():
        write_whole(spec.workspace.root / FILE_NAME, msgspec.json.encode(record))


def read_record(workspace: Workspace) -> tuple[StagingSpec, StagingState] | None:
    """What was written down; None if nothing was. Blocks: call it in a thread."""
    try:
        raw = (workspace.root / FILE_NAME).read_bytes()
        record = msgspec.json.decode(raw, type=_Record)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    state = StagingState(
        components=record.components,
        is_ready=record.is_ready,
        failure=record.failure,
        bytes_staged=record.bytes_staged,
        staging_s=record.staging_s,
    )
    return StagingSpec(workspace, record.document, record.shares_files), state
