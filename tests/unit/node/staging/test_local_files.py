"""Files of the site: only below its roots, whatever links say and whoever races."""

import os
import threading
from pathlib import Path

import pytest

from node_stub.staging.errors import RefusedError, SourceError
from node_stub.staging.local_files import open_below
from tests.unit.node.staging.sessions import (
    loopback,
    running_stager,
    session,
    sha256,
    simple,
    staged,
    staged_file,
    why_not,
    workspace_in,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with files and links, beside a secret."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "cube.fits").write_bytes(b"content")
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "inside").symlink_to(root / "sub" / "cube.fits")
    (root / "outside").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to("..")
    os.mkfifo(root / "pipe")
    return root


def read(path: Path, *roots: Path) -> bytes:
    file = open_below(str(path), [str(root) for root in roots])
    try:
        return os.read(file, 100)
    finally:
        os.close(file)


def test_files_and_links_within_a_root_are_read(root: Path) -> None:
    assert read(root / "sub" / "cube.fits", root) == b"content"
    assert read(root / "inside", root) == b"content"


def test_a_root_that_is_itself_a_link_is_where_it_leads(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)

    assert read(tmp_path / "link" / "inside", tmp_path / "link") == b"content"


@pytest.mark.parametrize("path", ["outside", "up/secret", "../secret", "sub/../../secret"])
def test_nothing_leads_out_of_a_root(root: Path, path: str) -> None:
    with pytest.raises(RefusedError):
        read(root / path, root)


@pytest.mark.parametrize("path", ["sub", "pipe", "nothing", "sub/cube.fits/x"])
def test_only_regular_files_are_read_and_a_pipe_does_not_block(root: Path, path: str) -> None:
    with pytest.raises((SourceError, RefusedError)):
        read(root / path, root)


def test_a_link_that_is_swapped_in_gains_nothing(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "cube.fits").write_bytes(b"secret")
    ends = threading.Event()

    def swap() -> None:
        while not ends.is_set():
            (root / "sub").rename(root / "aside")
            (root / "sub").symlink_to(tmp_path / "elsewhere")
            (root / "sub").unlink()
            (root / "aside").rename(root / "sub")

    racer = threading.Thread(target=swap)
    racer.start()
    seen = set()
    try:
        for _ in range(3000):
            try:
                seen.add(read(root / "sub" / "cube.fits", root))
            except (RefusedError, SourceError):
                continue
    finally:
        ends.set()
        racer.join()
    assert seen <= {b"content"}


async def test_a_file_of_the_site_is_staged_and_verified(root: Path, tmp_path: Path) -> None:
    settings = loopback(schemes=("file",), file_roots=(str(root),))
    async with running_stager(tmp_path, settings) as stager:
        workspace = workspace_in(tmp_path)
        data = simple(f"file://{root}/sub/cube.fits", checksum=sha256(b"content"))

        state = await staged(stager, workspace, session(data))

        assert state.failure is None
        assert staged_file(workspace, "cube.fits").read_bytes() == b"content"


@pytest.mark.parametrize(
    "path", ["/outside", "/up/secret", "/../secret", "/%2e%2e/secret", "/..%2fsecret"]
)
async def test_a_request_cannot_read_outside_of_the_roots(
    root: Path, tmp_path: Path, path: str
) -> None:
    settings = loopback(schemes=("file",), file_roots=(str(root),))

    text = await why_not(tmp_path, session(simple(f"file://{root}{path}")), settings)

    assert "not in a place that this site offers" in text
