"""The directories of sessions: made, found again, removed whatever a job left in them."""

import os
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from node_stub.platforms.base import EndReason, JobSpec
from node_stub.platforms.runner import Mount
from node_stub.platforms.workspaces import Verdict, Workspaces, make_mount_points


@pytest.fixture
def workspaces(tmp_path: Path) -> Workspaces:
    made = Workspaces(tmp_path / "sessions")
    made.open()
    return made


def spec() -> JobSpec:
    return JobSpec(
        session=uuid4(),
        document={"executable": {"kind": "x"}},
        cores=2,
        memory_gib=3,
        storage_gib=4,
        end_at=datetime(2026, 8, 3, 9, 0, tzinfo=UTC),
    )


def test_nobody_else_gets_below_the_root_and_anybody_may_write_to_a_home(
    workspaces: Workspaces,
) -> None:
    old = os.umask(0o077)
    try:
        workspace = workspaces.make(uuid4())
    finally:
        os.umask(old)

    assert workspaces.root.stat().st_mode & 0o777 == 0o700
    assert workspace.root.stat().st_mode & 0o777 == 0o700
    assert workspace.home.stat().st_mode & 0o777 == 0o777
    assert workspace.storage.stat().st_mode & 0o777 == 0o777


def test_a_job_exists_once_it_is_written_down_and_is_read_as_it_was(workspaces: Workspaces) -> None:
    job = spec()
    workspaces.make(job.session)
    assert not workspaces.has_job(job.session)
    assert workspaces.job(job.session) is None
    workspaces.save(job)

    assert workspaces.has_job(job.session)
    assert workspaces.job(job.session) == job


def test_the_first_verdict_stands(workspaces: Workspaces) -> None:
    job = spec()
    workspaces.make(job.session)
    assert workspaces.verdict(job.session) is None
    first = Verdict(EndReason.STORAGE, "too much")
    workspaces.condemn(job.session, first)
    workspaces.condemn(job.session, Verdict(EndReason.STORAGE, "even more"))

    assert workspaces.verdict(job.session) == first


def test_only_directories_of_sessions_are_taken_for_such(workspaces: Workspaces) -> None:
    session = workspaces.make(uuid4()).session
    (workspaces.root / ".docker-broker").write_text("x")
    (workspaces.root / "lost+found").mkdir()

    assert workspaces.sessions() == [session]


def test_a_tree_that_is_deeper_than_python_can_recurse_is_removed(workspaces: Workspaces) -> None:
    workspace = workspaces.make(uuid4())
    folder = os.open(workspace.home, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    workspaces.remove(workspace.session)

    assert workspaces.sessions() == []


def test_what_a_job_has_closed_is_removed_and_what_it_points_to_is_not(
    workspaces: Workspaces, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    workspace = workspaces.make(uuid4())
    (workspace.home / "link").symlink_to(precious)
    closed = workspace.home / "closed"
    closed.mkdir()
    (closed / "file").write_text("x")
    closed.chmod(0o000)
    (workspace.home / "-rf").mkdir()
    workspaces.remove(workspace.session)

    assert workspaces.sessions() == []
    assert (precious / "file").read_text() == "x"
    assert precious.stat().st_mode & 0o777 == 0o755


def test_what_is_not_there_is_removed_already(workspaces: Workspaces) -> None:
    workspaces.remove(uuid4())

    assert workspaces.sessions() == []


def test_volumes_within_volumes_and_within_the_home_have_a_place_to_be_mounted_on(
    workspaces: Workspaces,
) -> None:
    workspace = workspaces.make(uuid4())
    outer, inner, relative = (workspace.storage / name for name in ("a", "b", "c"))
    for folder in (outer, inner, relative):
        folder.mkdir()
    mounts = (
        Mount(inner, "/data//deep/in/", is_read_only=False),
        Mount(outer, "/data", is_read_only=True),
        Mount(relative, "in/put", is_read_only=True),
    )
    make_mount_points(workspace, mounts)

    assert (outer / "deep" / "in").is_dir()
    assert (workspace.home / "in" / "put").is_dir()
    assert list(inner.iterdir()) == []
