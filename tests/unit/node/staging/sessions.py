"""Session documents with data, workspaces for them, and stagers that may use loopback."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from aiohttp.abc import AbstractResolver

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.clock import SystemClock
from node_stub.platforms.runner import Workspace
from node_stub.staging.records import StagingSpec, StagingState
from node_stub.staging.settings import StagingSettings
from node_stub.staging.stager import Stager
from tests.support.waiting import eventually

STORE = "11111111-1111-4111-8111-111111111111"


def data_uuid(number: int) -> str:
    return f"22222222-2222-4222-8222-{number:012d}"


def sha256(content: bytes) -> Document:
    return {"type": "sha256", "value": hashlib.sha256(content).hexdigest()}


def simple(location: str, number: int = 0, name: str = "observation", **more: Any) -> Document:
    """A simple data resource as it is after the checks."""
    return resource(kinds.SIMPLE_DATA, number, name, location=location, **more)


def resource(kind: str, number: int = 0, name: str = "observation", **more: Any) -> Document:
    meta = {"uuid": data_uuid(number), "name": name}
    return {"kind": kind, "meta": meta, "storage": STORE, **more}


def volume(resource_uuid: str, path: str = "/input", mode: str = "READONLY") -> Document:
    return {
        "kind": kinds.SIMPLE_VOLUME,
        "meta": {"uuid": str(uuid4())},
        "path": path,
        "mode": mode,
        "resource": resource_uuid,
    }


def session(
    *data: Document,
    size_gib: int = 1,
    volumes: tuple[Document, ...] = (),
    notebook: str | None = None,
    **storage: Any,
) -> Document:
    """A session document with one storage resource and this data on it."""
    executable: Document = {"kind": kinds.DOCKER_CONTAINER, "meta": {"uuid": str(uuid4())}}
    if notebook is not None:
        executable |= {"kind": kinds.JUPYTER_NOTEBOOK, "location": notebook}
    return {
        "executable": executable,
        "compute": {
            "kind": kinds.SIMPLE_COMPUTE,
            "meta": {"uuid": str(uuid4())},
            "volumes": list(volumes),
        },
        "storage": [
            {
                "kind": kinds.SIMPLE_STORAGE,
                "meta": {"uuid": STORE, "name": "scratch"},
                "size": {"min": size_gib, "max": size_gib},
                "data": [item["meta"]["uuid"] for item in data],
                **storage,
            }
        ],
        "data": list(data),
    }


def workspace_in(folder: Path, uuid: UUID | None = None) -> Workspace:
    """An empty workspace, as the platform makes it."""
    uuid = uuid or uuid4()
    workspace = Workspace(uuid, folder / "sessions" / str(uuid))
    workspace.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    workspace.storage.mkdir(exist_ok=True)
    return workspace


def loopback(**changes: Any) -> StagingSettings:
    """Settings with which loopback may be fetched from, and that wait for nothing long."""
    usual: dict[str, Any] = {
        "schemes": ("http", "https"),
        "private_addresses": True,
        "backoff_s": 0.01,
        "max_backoff_s": 0.02,
        "idle_timeout_s": 5.0,
        "connect_timeout_s": 2.0,
        "file_timeout_s": 20.0,
        "attempts": 3,
    }
    return StagingSettings(**{**usual, **changes})


@asynccontextmanager
async def running_stager(
    folder: Path, settings: StagingSettings, resolver: AbstractResolver | None = None
) -> AsyncIterator[Stager]:
    """A stager with its cache below the folder."""
    stager = Stager(settings, folder / "cache", SystemClock(), resolver)
    await stager.open(lambda _: None)
    try:
        yield stager
    finally:
        await stager.close()


async def settled_state(stager: Stager, workspace: Workspace, within_s: float = 20) -> StagingState:
    """How the staging of a session ends."""

    async def look() -> StagingState | None:
        state = await stager.state(workspace)
        return state if state is not None and state.is_settled else None

    state = await eventually(look, within_s)
    assert state is not None
    return state


async def staged(
    stager: Stager,
    workspace: Workspace,
    document: Document,
    *,
    shares_files: bool = False,
    within_s: float = 20,
) -> StagingState:
    """Stage a session to its end."""
    await stager.begin(StagingSpec(workspace, document, shares_files))
    return await settled_state(stager, workspace, within_s)


async def why_not(
    folder: Path,
    document: Document,
    settings: StagingSettings | None = None,
    resolver: AbstractResolver | None = None,
) -> str:
    """Why a session cannot be staged; it must not be."""
    async with running_stager(folder, settings or loopback(), resolver) as stager:
        workspace = workspace_in(folder)
        state = await staged(stager, workspace, document)
        assert state.failure is not None
        assert [path for path in workspace.storage.rglob("*") if path.is_file()] == []
        return state.failure.text


def staged_file(workspace: Workspace, name: str, resource_name: str = "observation") -> Path:
    """Where a file of a data resource ends."""
    return workspace.storage / STORE / resource_name / name


async def in_thread(function: Any, *args: Any) -> Any:
    return await asyncio.to_thread(function, *args)
