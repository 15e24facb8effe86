"""The staging of one session: storage first, then its data side by side, and its notebook."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from uuid import UUID

from gateway.wire.phases import ComponentPhase
from node_stub.platforms.base import EndReason
from node_stub.staging.buckets import BucketLister
from node_stub.staging.errors import StagingError, StorageError
from node_stub.staging.files import copy_whole, disk_trouble, remove
from node_stub.staging.layout import (
    Place,
    places,
    storage_bytes,
    storage_folder,
    uuid_of,
)
from node_stub.staging.notebooks import MAX_NOTEBOOK_BYTES, chosen_notebook, plan_notebook
from node_stub.staging.obtaining import Obtainer, Order
from node_stub.staging.plans import DataPlan, WantedBucket, WantedFile, plan_data
from node_stub.staging.reading import components
from node_stub.staging.records import StagingFailure, StagingSpec, StagingState, write_record
from node_stub.staging.room import Room
from node_stub.staging.settings import StagingSettings
from node_stub.staging.threads import settled
from node_stub.standing import Component

INCOMING: Final = "incoming"
"""Where, in the workspace, files lie that are not complete: no job can see them."""

_NOTEBOOK_NAME: Final = "notebook.ipynb"


class _FailedError(Exception):
    """Staging cannot succeed any more."""

    def __init__(self, failure: StagingFailure) -> None:
        super().__init__(failure.text)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Tools:
    """What fetches: shared by all sessions."""

    settings: StagingSettings
    obtainer: Obtainer
    lister: BucketLister


class SessionStaging:
    """Stages one session; ``changed`` is called when there is news of it."""

    def __init__(self, spec: StagingSpec, tools: Tools, changed: Callable[[], None]) -> None:
        self.spec: Final = spec
        self.state = StagingState()
        self._tools = tools
        self._changed = changed
        self._workspace = spec.workspace
        self._places = places(spec.document, spec.workspace)
        self._rooms: dict[UUID, Room] = {}
        self._turns = asyncio.Semaphore(tools.settings.parallel_per_session)

    async def run(self) -> None:
        """Stage it all; how it went is in `state` and is written down."""
        began = time.monotonic()
        try:
            await self._stage()
        except* _FailedError as group:
            await self._settle(began, _first(group).failure)
        else:
            await self._settle(began, None)

    async def _settle(self, began: float, failure: StagingFailure | None) -> None:
        phases = dict(self.state.components)
        if failure is not None:
            phases[failure.component] = ComponentPhase.FAILED
        state = replace(
            self.state,
            components=phases,
            is_ready=failure is None,
            failure=failure,
            staging_s=time.monotonic() - began,
        )
        try:
            await settled(write_record, self.spec, state)
            await settled(remove, self._workspace.root / INCOMING)
        except StorageError as error:
            if failure is None:
                failed = StagingFailure(Component.STORAGE, EndReason.STORAGE, str(error))
                state = replace(state, is_ready=False, failure=failed)
        self.state = state
        self._changed()

    async def _stage(self) -> None:
        self._move(ComponentPhase.PREPARING, Component.STORAGE)
        self._move(ComponentPhase.WAITING, Component.DATA)
        async with self._blamed(Component.STORAGE):
            await settled(self._make_folders)
        self._move(ComponentPhase.AVAILABLE, Component.STORAGE)
        self._move(ComponentPhase.PREPARING, Component.DATA)
        async with self._blamed(Component.EXECUTABLE):
            notebook = plan_notebook(self.spec.document)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._stage_data(), name="stage_data")
            if notebook is not None and notebook.location is not None:
                wanted = WantedFile(_NOTEBOOK_NAME, (notebook.location,))
                tasks.create_task(self._fetch_notebook(wanted), name="stage_notebook")
        if notebook is not None and notebook.data is not None:
            await self._copy_notebook(self._places[notebook.data])

    def _make_folders(self) -> None:
        with disk_trouble():
            (self._workspace.root / INCOMING).mkdir(mode=0o700, exist_ok=True)
            self._workspace.storage.mkdir(exist_ok=True)
            for storage in components(self.spec.document, "storage"):
                folder = storage_folder(self._workspace, uuid_of(storage))
                folder.mkdir(exist_ok=True)
                folder.chmod(0o777)  # mkdir's mode is cut by the umask
                self._rooms[uuid_of(storage)] = Room(storage_bytes(storage))
            for place in self._places.values():
                place.folder.mkdir(exist_ok=True)
                place.folder.chmod(place.folder_mode)

    async def _stage_data(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for i, data in enumerate(components(self.spec.document, "data")):
                async with self._blamed(Component.DATA):
                    plan = plan_data(data, f"/data/{i}")
                tasks.create_task(self._stage_plan(plan), name="stage_resource")
        self._move(ComponentPhase.AVAILABLE, Component.DATA)

    async def _stage_plan(self, plan: DataPlan) -> None:
        async with self._blamed(Component.DATA, plan.title):
            if isinstance(plan.wanted, WantedFile):
                await self._stage_file(plan, 0, plan.wanted)
                return
            await self._stage_bucket(plan, plan.wanted)

    async def _stage_bucket(self, plan: DataPlan, wanted: WantedBucket) -> None:
        async with self._turns:
            files = await self._tools.lister.files(wanted)
        room = self._rooms[plan.storage]
        if sum(file.size or 0 for file in files) > room.limit:
            raise StorageError(f"the bucket does not fit its storage of {room.limit} bytes")
        queue = iter(enumerate(files))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._tools.settings.parallel_per_session):
                tasks.create_task(self._stage_queue(plan, queue), name="stage_objects")

    async def _stage_queue(self, plan: DataPlan, queue: Iterator[tuple[int, WantedFile]]) -> None:
        async with self._blamed(Component.DATA, plan.title):
            for number, file in queue:
                await self._stage_file(plan, number, file)

    async def _stage_file(self, plan: DataPlan, number: int, wanted: WantedFile) -> None:
        place = self._places[plan.uuid]
        target = place.folder / wanted.name
        lease = self._rooms[plan.storage].lease()
        there = await settled(_size_there, place, target)
        if there is not None:
            # From before the broker was started again; a file has its name only when complete.
            lease.resize(there)
            return
        is_shared = self.spec.shares_files and not place.is_writable
        await self._obtain(
            Order(
                wanted=wanted,
                target=target,
                part=self._workspace.root / INCOMING / f"{plan.uuid}-{number}.part",
                place=place,
                lease=lease,
                max_bytes=self._tools.settings.max_file_bytes,
                is_shared=is_shared,
            )
        )

    async def _obtain(self, order: Order) -> None:
        async with self._turns:
            received = await self._tools.obtainer.obtain(order)
        self.state = replace(self.state, bytes_staged=self.state.bytes_staged + received)

    async def _fetch_notebook(self, wanted: WantedFile) -> None:
        self._move(ComponentPhase.PREPARING, Component.EXECUTABLE)
        async with self._blamed(Component.EXECUTABLE, "the notebook"):
            await self._obtain(
                Order(
                    wanted=wanted,
                    target=self._workspace.notebook,
                    part=self._workspace.root / INCOMING / "notebook.part",
                    place=Place(self._workspace.root, is_writable=False),
                    lease=Room(MAX_NOTEBOOK_BYTES).lease(),
                    max_bytes=MAX_NOTEBOOK_BYTES,
                )
            )
        self._move(ComponentPhase.AVAILABLE, Component.EXECUTABLE)

    async def _copy_notebook(self, place: Place) -> None:
        async with self._blamed(Component.EXECUTABLE, "the notebook"):
            await settled(_copy_notebook, place.folder, self._workspace.notebook)
        self._move(ComponentPhase.AVAILABLE, Component.EXECUTABLE)

    def _move(self, phase: ComponentPhase, component: Component) -> None:
        moved: Mapping[Component, ComponentPhase] = {**self.state.components, component: phase}
        self.state = replace(self.state, components=moved)
        self._changed()

    @asynccontextmanager
    async def _blamed(self, component: Component, title: str = "") -> AsyncIterator[None]:
        """Says whose failure it is."""
        try:
            yield
        except StagingError as error:
            reason = EndReason.DATA
            if component is Component.EXECUTABLE:
                reason = EndReason.IMAGE
            elif isinstance(error, StorageError):
                component, reason = Component.STORAGE, EndReason.STORAGE
            text = f"{title}: {error}" if title else str(error)
            raise _FailedError(StagingFailure(component, reason, text)) from error


def _first(group: BaseExceptionGroup[_FailedError]) -> _FailedError:
    """One of the failures that came at the same time."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, _FailedError)
    return error


def _size_there(place: Place, target: Path) -> int | None:
    """The size of a file that is in place; otherwise its directory is made."""
    with disk_trouble():
        try:
            return target.lstat().st_size
        except FileNotFoundError:
            pass
        folder = target.parent
        while folder != place.folder:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(place.folder_mode)
            folder = folder.parent
        return None


def _copy_notebook(folder: Path, target: Path) -> None:
    with disk_trouble():
        copy_whole(chosen_notebook(folder), target, 0o444)
