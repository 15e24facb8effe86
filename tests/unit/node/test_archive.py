"""The archive of results: what is kept of what a job left, whatever it left, and after a crash."""

import asyncio
import hashlib
import os
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_stub import archive_moves, archive_plan
from node_stub.archive import Archive, Output, Report, ResultFile
from node_stub.archive_moves import StoppedError
from node_stub.platforms.base import EndReason, Stream, Usage

SESSION: Final = UUID("00000000-0000-4000-8000-000000000001")
REPORT: Final = Report(
    exit_code=3,
    reason=EndReason.NONZERO,
    text="it ended",
    started=datetime(2026, 8, 3, 9, tzinfo=UTC),
    ended=datetime(2026, 8, 3, 10, tzinfo=UTC),
    usage=Usage(cpu_s=1.5, peak_memory_bytes=1 << 20),
)


class Job:
    """The directories that a job left."""

    def __init__(self, at: Path) -> None:
        self.home = at / "home"
        self.home.mkdir(parents=True)
        self.logs = {stream: at / f"log-{stream}" for stream in Stream}
        for stream, path in self.logs.items():
            path.write_text(f"{stream} says\n")

    def write(self, path: str, data: bytes = b"data") -> Path:
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return file

    def output(self, prefix: str = "", *skip: str) -> Output:
        return Output(self.home, prefix, frozenset(skip))


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    yield Job(tmp_path / "job")
    # Some tests leave trees that are too deep for what pytest tidies up with.
    subprocess.run(["rm", "-rf", tmp_path / "job"], check=True)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "results")


async def keep(archive: Archive, job: Job, *skip: str, prefix: str = "") -> Report:
    return await archive.keep(SESSION, REPORT, job.logs, [job.output(prefix, *skip)])


def paths(report: Report) -> list[str]:
    return [file.path for file in report.files]


async def test_logs_files_exit_and_usage_are_kept_and_found_again(
    archive: Archive, job: Job
) -> None:
    job.write("plots/a.png", b"png")
    job.write("notes.txt", b"")
    kept = await keep(archive, job, prefix="home")
    assert kept.files == (
        ResultFile("home/notes.txt", 0, hashlib.sha256().hexdigest()),
        ResultFile("home/plots/a.png", 3, hashlib.sha256(b"png").hexdigest()),
    )
    assert kept.notes == ()
    assert (kept.exit_code, kept.reason, kept.usage) == (3, EndReason.NONZERO, REPORT.usage)
    assert await archive.report(SESSION) == kept
    log = await archive.log(SESSION, Stream.STDERR)
    assert log is not None
    assert log.read_text() == "stderr says\n"
    file = await archive.file(SESSION, "home/plots/a.png")
    assert file is not None
    assert file.read_bytes() == b"png"
    assert list(job.home.rglob("*.*")) == []


async def test_what_is_not_there_is_none(archive: Archive, job: Job) -> None:
    assert await archive.report(SESSION) is None
    assert await archive.log(SESSION, Stream.STDOUT) is None
    assert await archive.file(SESSION, "a") is None
    await keep(archive, job)
    assert await archive.file(SESSION, "a") is None
    assert await archive.report(uuid4()) is None


async def test_keeping_again_changes_nothing(archive: Archive, job: Job) -> None:
    job.write("first")
    kept = await keep(archive, job)
    job.write("second")
    assert await keep(archive, job) == kept
    assert await archive.file(SESSION, "second") is None


async def test_a_session_without_logs_and_directories_has_a_report_still(
    archive: Archive, tmp_path: Path
) -> None:
    nothing = Output(tmp_path / "missing", "", frozenset())
    kept = await archive.keep(SESSION, REPORT, {Stream.STDOUT: tmp_path / "no"}, [nothing])
    assert kept == REPORT
    assert await archive.log(SESSION, Stream.STDOUT) is None


async def test_skipped_files_and_directories_stay_where_they_are(
    archive: Archive, job: Job
) -> None:
    for path in ("kept", "staged.fits", "data/a/b", "deep/data/c", "data2"):
        job.write(path)
    assert paths(await keep(archive, job, "staged.fits", "data", "deep/data")) == ["data2", "kept"]
    assert (job.home / "staged.fits").exists()
    assert (job.home / "data/a/b").exists()


async def test_links_pipes_and_sockets_are_noted_and_never_followed(
    archive: Archive, job: Job, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    job.write("good")
    (job.home / "to-file").symlink_to(secret / "key")
    (job.home / "to-directory").symlink_to(secret)
    os.mkfifo(job.home / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(job.home / "socket"))
        kept = await keep(archive, job)
    assert paths(kept) == ["good"]
    assert set(kept.notes) == {
        "'to-file' is not kept: it is a symbolic link",
        "'to-directory' is not kept: it is a symbolic link",
        "'pipe' is not kept: it is a named pipe",
        "'socket' is not kept: it is a socket",
    }


async def test_a_file_that_becomes_a_link_after_the_plan_is_not_followed(
    archive: Archive, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("secret")
    victim = job.write("victim")
    plan = archive_plan.Planner.plan

    def swapped(self: archive_plan.Planner) -> archive_plan.Plan:
        made = plan(self)
        victim.unlink()
        victim.symlink_to(tmp_path / "secret")
        return made

    monkeypatch.setattr(archive_plan.Planner, "plan", swapped)
    kept = await keep(archive, job)
    assert kept.files == ()
    assert kept.notes == ("'victim' is not kept: it is no file any more",)
    assert (tmp_path / "secret").read_text() == "secret"


async def test_a_file_with_another_name_is_copied_and_the_other_left_untouched(
    archive: Archive, job: Job, tmp_path: Path
) -> None:
    cached = tmp_path / "cache"
    cached.write_bytes(b"\0" * (1 << 21) + b"tail")
    cached.chmod(0o444)
    (job.home / "staged").hardlink_to(cached)
    kept = await keep(archive, job)
    file = await archive.file(SESSION, "staged")
    assert file is not None
    assert file.read_bytes() == cached.read_bytes()
    assert kept.files[0].sha256 == hashlib.sha256(cached.read_bytes()).hexdigest()
    assert not file.samefile(cached)
    assert stat.S_IMODE(cached.stat().st_mode) == 0o444
    assert cached.stat().st_nlink == 2


async def test_names_that_are_no_text_are_renamed_and_noted(archive: Archive, job: Job) -> None:
    for name in (b"caf\xe9", b"caf_", b"line\nbreak", b"\x1b[2J", "ça".encode()):
        (job.home / os.fsdecode(name)).write_bytes(name)
    kept = await keep(archive, job)
    assert sorted(paths(kept)) == sorted(["_[2J", "caf_", "caf_~", "line_break", "ça"])
    assert len(kept.notes) == 3
    kept_bytes = {f.path: await archive.file(SESSION, f.path) for f in kept.files}
    assert {path.read_bytes() for path in kept_bytes.values() if path} == {
        b"caf\xe9",
        b"caf_",
        b"line\nbreak",
        b"\x1b[2J",
        "ça".encode(),
    }


async def test_outputs_that_share_names_do_not_overwrite_each_other(
    archive: Archive, tmp_path: Path
) -> None:
    one, two = Job(tmp_path / "one"), Job(tmp_path / "two")
    one.write("same", b"1")
    one.write("a", b"1")
    two.write("same", b"2")
    two.write("a/b", b"2")
    outputs = [one.output(), two.output()]
    kept = await archive.keep(SESSION, REPORT, {}, outputs)
    assert paths(kept) == ["a", "a~/b", "same", "same~"]
    assert len(kept.notes) == 1


async def test_limits_of_count_and_size_are_kept_and_noted(tmp_path: Path, job: Job) -> None:
    for number in range(30):
        job.write(f"f{number:02}")
    few = Archive(tmp_path / "few", max_files=2)
    kept = await keep(few, job)
    assert paths(kept) == ["f00", "f01"]
    assert "8 more is not kept: at most 2 files are" in kept.notes
    job.write("g-large", b"x" * 1000)
    job.write("h-small", b"x")
    small = Archive(tmp_path / "small", max_bytes=120)
    kept = await keep(small, job)
    assert "g-large" not in paths(kept)
    assert "h-small" in paths(kept)
    assert "'g-large' is not kept: at most 120 bytes are" in kept.notes


async def test_of_an_endless_directory_only_so_much_is_looked_at(tmp_path: Path, job: Job) -> None:
    for number in range(100):
        job.write(f"d{number}/x")
    kept = await keep(Archive(tmp_path / "few", max_files=2), job)
    assert len(kept.files) <= 2
    assert any("there is too much in all" in note for note in kept.notes)


async def test_a_tree_that_is_very_deep_is_cut_off_and_noted(archive: Archive, job: Job) -> None:
    number = os.open(job.home, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=number)
        deeper = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=number)
        os.close(number)
        number = deeper
    os.close(number)
    job.write("top")
    kept = await keep(archive, job)
    assert paths(kept) == ["top"]
    assert len(kept.notes) == 1
    assert "too deep" in kept.notes[0]


async def test_a_path_that_is_very_long_is_cut_off_and_noted(archive: Archive, job: Job) -> None:
    number = os.open(job.home, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(20):
        os.mkdir("d" * 200, dir_fd=number)
        deeper = os.open("d" * 200, os.O_RDONLY | os.O_DIRECTORY, dir_fd=number)
        os.close(number)
        number = deeper
    os.close(number)
    kept = await keep(archive, job)
    assert kept.files == ()
    assert len(kept.notes) == 1
    assert "too long" in kept.notes[0]


async def test_a_file_of_holes_is_bounded_by_the_room_there_is(
    tmp_path: Path, archive: Archive, job: Job
) -> None:
    with job.write("sparse").open("wb") as file:
        file.truncate(1 << 43)
    kept = await keep(archive, job)
    assert kept.files == ()
    assert len(kept.notes) == 1


async def test_forbidden_modes_hide_nothing_and_programs_become_plain_files(
    archive: Archive, job: Job
) -> None:
    job.write("closed/inner").parent.chmod(0)
    program = job.write("program")
    program.chmod(0o6777)
    job.write("unreadable").chmod(0)
    kept = await keep(archive, job)
    assert paths(kept) == ["closed/inner", "program", "unreadable"]
    for file in kept.files:
        path = await archive.file(SESSION, file.path)
        assert path is not None
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "..", "/", "/etc/passwd", "../report.json", "../stdout", "a/../../report.json"),
        *("a//b", "a/./b", "a/", "a/b/..", "a\0b", "x" * 5000, "link", "linked/b", "a", "\udce9"),
    ],
)
async def test_only_kept_files_can_be_had(archive: Archive, job: Job, path: str) -> None:
    job.write("a/b")
    await keep(archive, job)
    known = await archive.file(SESSION, "a/b")
    assert known is not None
    (known.parent.parent / "link").symlink_to(known)
    (known.parent.parent / "linked").symlink_to(known.parent)
    assert await archive.file(SESSION, path) is None


async def test_a_removed_session_is_gone_and_removing_it_again_is_fine(
    archive: Archive, job: Job, tmp_path: Path
) -> None:
    job.write("a/b")
    await keep(archive, job)
    for _ in range(2):
        await archive.remove(SESSION)
        assert await archive.report(SESSION) is None
        assert list((tmp_path / "results").iterdir()) == []


async def test_only_what_is_old_is_forgotten(archive: Archive, job: Job, tmp_path: Path) -> None:
    await keep(archive, job)
    other = uuid4()
    await archive.keep(other, REPORT, {}, [])
    results = tmp_path / "results"
    (results / "lost+found").mkdir()
    (results / f"{uuid4()}.partial").mkdir()
    (results / f"{uuid4()}.removed").mkdir()
    old = datetime.now(UTC).timestamp() - 1000
    os.utime(results / str(SESSION) / "report.json", (old, old))
    assert await archive.forget(datetime.now(UTC) - timedelta(seconds=500)) == 1
    assert await archive.report(SESSION) is None
    assert await archive.report(other) is not None
    assert await archive.forget(datetime.now(UTC) + timedelta(seconds=5)) == 2
    assert [path.name for path in results.iterdir()] == ["lost+found"]
    assert await Archive(tmp_path / "nowhere").forget(datetime.now(UTC)) == 0


class PowerCutError(Exception):
    """The machine stops."""


async def test_after_a_power_cut_at_any_step_the_same_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that changes a file or directory fails once, and everything is done again."""

    def filled(at: Path) -> Job:
        job = Job(at)
        job.write("a", b"1")
        job.write("deep/b", b"22")
        (job.home / os.fsdecode(b"\xff")).write_bytes(b"odd")
        (job.home / "link").symlink_to("a")
        (at / "other").write_bytes(b"twice")
        (job.home / "hard").hardlink_to(at / "other")
        return job

    whole = await keep(Archive(tmp_path / "whole"), filled(tmp_path / "job"))
    left = 0
    real_rename, real_mkdir, real_unlink = Path.rename, Path.mkdir, Path.unlink

    def counted() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise PowerCutError

    def rename(self: Path, target: Path) -> Path:
        counted()
        real_rename(self, target)
        counted()
        return target

    def mkdir(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        counted()
        real_mkdir(self, mode, parents, exist_ok)

    def unlink(self: Path, missing_ok: bool = False) -> None:
        counted()
        real_unlink(self, missing_ok)

    step = 0
    while True:
        step += 1
        job = filled(tmp_path / f"job-{step}")
        archive = Archive(tmp_path / f"results-{step}")
        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", rename)
            patched.setattr(Path, "mkdir", mkdir)
            patched.setattr(Path, "unlink", unlink)
            left = step
            try:
                await keep(archive, job)
            except PowerCutError:
                was_cut = True
            else:
                was_cut = False
        assert await keep(archive, job) == whole, step
        assert await archive.report(SESSION) == whole
        if not was_cut:
            break
    assert step > 15


async def test_a_full_disk_loses_nothing_and_is_tried_again(
    archive: Archive, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.write("a")
    job.write("b")

    def full(self: archive_moves.Mover, source: Path, target: Path) -> bool:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(archive_moves.Mover, "move", full)
        with pytest.raises(OSError, match="No space"):
            await keep(archive, job)
    assert await archive.report(SESSION) is None
    assert paths(await keep(archive, job)) == ["a", "b"]


async def test_cancelled_it_has_stopped_when_it_ends_and_can_be_taken_up(
    archive: Archive, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.write("a", b"x" * 10)
    entered, stopped = threading.Event(), threading.Event()
    digest = archive_moves.Mover.digest

    def slow(self: archive_moves.Mover, path: Path) -> archive_moves.Digest:
        entered.set()
        assert self._stop.wait(5)
        try:
            return digest(self, path)
        except StoppedError:
            stopped.set()
            raise

    with monkeypatch.context() as patched:
        patched.setattr(archive_moves.Mover, "digest", slow)
        task = asyncio.create_task(keep(archive, job))
        assert await asyncio.to_thread(entered.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert stopped.is_set()
    assert await archive.log(SESSION, Stream.STDOUT) is not None
    assert paths(await keep(archive, job)) == ["a"]


async def test_two_who_keep_the_same_session_get_the_same(archive: Archive, job: Job) -> None:
    for number in range(20):
        job.write(f"f{number}")
    first, second = await asyncio.gather(keep(archive, job), keep(archive, job))
    assert first == second
    assert len(first.files) == 20


NAMES: Final = st.binary(min_size=1, max_size=12).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in {b".", b".."}
)


def grow(job: Job, tree: dict[tuple[bytes, ...], bytes]) -> list[bytes]:
    """Write the files of a tree, as far as they do not stand in each other's way; their bytes."""
    written: list[bytes] = []
    for parts, data in tree.items():
        path = Path(job.home, *(os.fsdecode(part) for part in parts))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
        written.append(data)
    return written


@settings(max_examples=60, deadline=None)
@given(tree=st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map(tuple), st.binary()))
async def test_every_file_of_any_name_is_kept_once_with_its_bytes(
    tree: dict[tuple[bytes, ...], bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    at = tmp_path_factory.mktemp("names")
    job, archive = Job(at / "job"), Archive(at / "results")
    written = grow(job, tree)
    kept = await keep(archive, job)
    assert len(set(paths(kept))) == len(written)
    read: list[bytes] = []
    for file in kept.files:
        assert file.path.isprintable()
        found = await archive.file(SESSION, file.path)
        assert found is not None
        read.append(found.read_bytes())
        assert hashlib.sha256(read[-1]).hexdigest() == file.sha256
    assert sorted(read) == sorted(written)
