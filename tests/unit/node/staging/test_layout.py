"""Where data lies and what of it is mounted; how much lies there."""

import os
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.documents import Document
from node_stub.platforms.runner import Mount, Workspace
from node_stub.staging.layout import mounts, places, storage_bytes
from node_stub.staging.measuring import MEASURELESS, measure
from tests.unit.node.staging.sessions import STORE, data_uuid, session, simple, volume

WORKSPACE = Workspace(UUID(STORE), Path("/var/sessions") / STORE)
FOLDER = WORKSPACE.storage / STORE


def test_data_is_mounted_by_its_directory_and_storage_as_a_whole() -> None:
    document = session(
        simple("https://h.org/x"),
        volumes=(
            volume(data_uuid(0), "/input"),
            volume(STORE, "scratch", "READWRITE"),
        ),
    )

    assert mounts(document, WORKSPACE) == (
        Mount(FOLDER / "observation", "/input", is_read_only=True),
        Mount(FOLDER, "scratch", is_read_only=False),
    )


def test_without_volumes_nothing_is_mounted() -> None:
    assert mounts(session(simple("https://h.org/x")), WORKSPACE) == ()


@given(st.lists(st.text(max_size=300), min_size=1, max_size=6))
def test_no_name_of_data_leads_out_of_its_storage(names: list[str]) -> None:
    data = [simple("https://h.org/x", i, name) for i, name in enumerate(names)]

    folders = [place.folder for place in places(session(*data), WORKSPACE).values()]

    assert len(set(folders)) == len(names)
    for folder in folders:
        assert folder.parent == FOLDER
        assert folder.name not in {"", ".", ".."}


@pytest.mark.parametrize(
    ("size", "gib"),
    [({"min": 1, "max": 2}, 2), ({"min": 1}, 1), ({}, 0), ({"max": -1}, 0), ({"max": "x"}, 0)],
)
def test_a_storage_holds_its_greatest_size(size: Document, gib: int) -> None:
    assert storage_bytes({"size": size}) == gib << 30


async def test_what_is_written_is_measured(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "f").write_bytes(os.urandom(4 << 20))
    folder = tmp_path / "storage"
    (folder / "a" / "b").mkdir(parents=True)
    empty = await measure(folder)
    (folder / "a" / "b" / "f").write_bytes(os.urandom(1 << 20))
    (folder / "file").symlink_to(tmp_path / "elsewhere" / "f")
    (folder / "folder").symlink_to(tmp_path / "elsewhere")
    (folder / "again").hardlink_to(folder / "a" / "b" / "f")
    with (folder / "hole").open("wb") as file:
        file.truncate(1 << 40)

    measured = await measure(folder) - empty

    assert 1 << 20 <= measured < (1 << 20) + 100_000
    assert await measure(tmp_path / "nothing") == 0


async def test_a_tree_too_deep_to_measure_counts_as_too_large(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(450):
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)

    assert await measure(tmp_path) == MEASURELESS
