"""Where the files of a session lie, and what of them a job sees. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from gateway.wire.documents import Document
from node_stub.platforms.runner import Mount, Workspace
from node_stub.staging.names import distinct_name, safe_name
from node_stub.staging.reading import block, components, text, whole
from node_stub.staging.room import BYTES_PER_GIB

READ_ONLY: Final = "READONLY"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of one data resource are put.

    ``is_writable``: some volume of the job lets it write there.
    """

    folder: Path
    is_writable: bool

    @property
    def file_mode(self) -> int:
        """A job may run as anybody."""
        return 0o666 if self.is_writable else 0o444

    @property
    def folder_mode(self) -> int:
        """Nobody but the job gets below the workspace."""
        return 0o777 if self.is_writable else 0o755


def storage_folder(workspace: Workspace, storage: UUID) -> Path:
    """The directory of one storage resource."""
    return workspace.storage / str(storage)


def storage_bytes(storage: Document) -> int:
    """How much may be put on a storage resource."""
    size = block(storage, "size")
    gib = whole(size, "max")
    if gib is None:
        gib = whole(size, "min")
    return max(0, gib or 0) * BYTES_PER_GIB


def uuid_of(component: Document) -> UUID:
    """The component's own UUID."""
    return UUID(component["meta"]["uuid"])


def places(document: Document, workspace: Workspace) -> Mapping[UUID, Place]:
    """Where each data resource is put: a directory of its own, named like it, on its storage."""
    writable = _writable(document)
    taken: set[Path] = set()
    found: dict[UUID, Place] = {}
    for data in components(document, "data"):
        uuid, storage = uuid_of(data), UUID(data["storage"])
        name = safe_name(text(block(data, "meta"), "name") or str(uuid))
        folder = storage_folder(workspace, storage) / name
        if folder in taken:
            folder = folder.with_name(distinct_name(name, str(uuid)))
        taken.add(folder)
        found[uuid] = Place(folder, is_writable=bool({uuid, storage} & writable))
    return found


def _volumes(document: Document) -> list[Document]:
    return components(block(document, "compute"), "volumes")


def _writable(document: Document) -> set[UUID]:
    """The resources that some volume lets the job write to."""
    return {
        UUID(volume["resource"])
        for volume in _volumes(document)
        if volume.get("mode", READ_ONLY) != READ_ONLY
    }


def mounts(document: Document, workspace: Workspace) -> tuple[Mount, ...]:
    """The volumes of the compute resource: data by its own directory, storage by the whole of it.

    A volume of a resource that is not in the document raises a KeyError: references have been
    resolved before.
    """
    data = places(document, workspace)
    stores = {
        uuid: storage_folder(workspace, uuid)
        for uuid in map(uuid_of, components(document, "storage"))
    }
    folders = stores | {uuid: place.folder for uuid, place in data.items()}
    return tuple(
        Mount(
            source=folders[UUID(volume["resource"])],
            target=volume["path"],
            is_read_only=volume.get("mode", READ_ONLY) == READ_ONLY,
        )
        for volume in _volumes(document)
    )
