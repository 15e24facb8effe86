"""The shared cache: one fetch for many sessions, bounded, read-only, whole or not there."""

import asyncio
import hashlib
import os
import zlib
from pathlib import Path

import pytest

from gateway.wire.documents import Document
from node_stub.staging.cache import Cache, cache_key
from node_stub.staging.checksums import Checksum
from node_stub.staging.errors import StorageError
from tests.unit.node.staging.archive import running_archive
from tests.unit.node.staging.sessions import (
    STORE,
    data_uuid,
    loopback,
    running_stager,
    session,
    sha256,
    simple,
    staged,
    staged_file,
    volume,
    workspace_in,
)

CONTENT = os.urandom(200_000)
CACHED = loopback(cache_gib=0.001)
"""Room for a million bytes."""


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "cache" / "objects").iterdir())


async def test_the_next_session_does_not_fetch_again(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, CACHED) as stager:
        document = session(simple(archive.add("/f", CONTENT), checksum=sha256(CONTENT)))
        first, second = workspace_in(tmp_path), workspace_in(tmp_path)

        assert (await staged(stager, first, document)).bytes_staged == len(CONTENT)
        assert (await staged(stager, second, document)).bytes_staged == 0

        assert len(archive.asked) == 1
        assert staged_file(second, "f").read_bytes() == CONTENT


async def test_the_cache_outlives_the_broker(tmp_path: Path) -> None:
    async with running_archive() as archive:
        document = session(simple(archive.add("/f", CONTENT), checksum=sha256(CONTENT)))
        for _ in range(2):
            async with running_stager(tmp_path, CACHED) as stager:
                assert (await staged(stager, workspace_in(tmp_path), document)).is_ready

        assert len(archive.asked) == 1


@pytest.mark.parametrize("is_whole_node", [True, False])
async def test_two_sessions_that_need_the_same_file_fetch_it_once(
    tmp_path: Path, is_whole_node: bool
) -> None:
    settings = loopback(cache_gib=0.001, parallel=4 if is_whole_node else 1)
    async with running_archive() as archive, running_stager(tmp_path, settings) as stager:
        content = CONTENT[:40]
        url = archive.add("/f", content, drip_s=0.005)
        document = session(simple(url, checksum=sha256(content)))
        spaces = [workspace_in(tmp_path) for _ in range(5)]

        states = await asyncio.gather(*(staged(stager, space, document) for space in spaces))

        assert [state.is_ready for state in states] == [True] * 5
        assert len(archive.asked) == 1


async def test_who_waits_goes_on_when_the_first_is_cancelled(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, CACHED) as stager:
        content = CONTENT[:300]
        url = archive.add("/f", content, drip_s=0.005)
        document = session(simple(url, checksum=sha256(content)))
        first, second = workspace_in(tmp_path), workspace_in(tmp_path)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(staged(stager, second, document))
            doomed = tasks.create_task(staged(stager, first, document))
            await asyncio.sleep(0.05)
            doomed.cancel()
            await stager.cancel(first.session)
        assert waiting.result().is_ready
        assert staged_file(second, "f").read_bytes() == content


@pytest.mark.parametrize(
    ("shares", "mounts", "is_shared"),
    [
        (True, (), True),
        (True, (volume(STORE),), True),
        (True, (volume(data_uuid(0)),), True),
        (False, (volume(data_uuid(0)),), False),
        (True, (volume(STORE, mode="READWRITE"),), False),
        (True, (volume(data_uuid(0), mode="READWRITE"),), False),
        (True, (volume(data_uuid(0)), volume(STORE, "/s", "READWRITE")), False),
    ],
)
async def test_the_file_itself_is_given_only_where_no_job_can_write_to_it(
    tmp_path: Path, shares: bool, mounts: tuple[Document, ...], is_shared: bool
) -> None:
    async with running_archive() as archive, running_stager(tmp_path, CACHED) as stager:
        data = simple(archive.add("/f", CONTENT), checksum=sha256(CONTENT))
        workspace = workspace_in(tmp_path)

        await staged(stager, workspace, session(data, volumes=mounts), shares_files=shares)

        (name,) = kept(tmp_path)
        original = tmp_path / "cache" / "objects" / name
        file = staged_file(workspace, "f")
        assert file.samefile(original) == is_shared
        assert original.stat().st_mode & 0o777 == 0o444
        if not is_shared:
            with file.open("ab") as opened:
                opened.write(b"changed")
            assert original.read_bytes() == CONTENT


async def test_data_without_checksum_or_with_a_signed_url_is_not_shared(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, CACHED) as stager:
        url = archive.add("/f", CONTENT)
        for data in (simple(url), simple(f"{url}?X-Amz-Signature=1", checksum=sha256(CONTENT))):
            for _ in range(2):
                assert (await staged(stager, workspace_in(tmp_path), session(data))).is_ready

        assert len(archive.asked) == 4
        assert kept(tmp_path) == []


async def test_a_signed_url_does_not_get_what_others_fetched(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, CACHED) as stager:
        url = archive.add("/f", CONTENT)
        await staged(stager, workspace_in(tmp_path), session(simple(url, checksum=sha256(CONTENT))))
        archive.files["/f"].statuses = [403]
        forged = simple(f"{url}?X-Amz-Signature=0", checksum=sha256(CONTENT))

        state = await staged(stager, workspace_in(tmp_path), session(forged))

        assert state.failure is not None


async def test_a_weak_checksum_does_not_let_one_replace_the_data_of_another(
    tmp_path: Path,
) -> None:
    # Both have the same adler32 and the same length; who makes the second can choose it.
    good = bytes([1, 3, 5, 7])
    forged = bytes([2, 1, 6, 7])
    assert zlib.adler32(good) == zlib.adler32(forged)
    checksum = {"type": "adler32", "value": f"{zlib.adler32(good):08x}"}
    async with running_archive() as archive, running_stager(tmp_path, CACHED) as stager:
        theirs = simple(archive.add("/evil/f", forged), checksum=checksum)
        ours = simple(archive.add("/good/f", good), checksum=checksum)
        await staged(stager, workspace_in(tmp_path), session(theirs))
        workspace = workspace_in(tmp_path)

        await staged(stager, workspace, session(ours))

        assert staged_file(workspace, "f").read_bytes() == good


async def test_a_wrong_file_never_gets_into_the_cache(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, CACHED) as stager:
        url = archive.add("/f", CONTENT)

        state = await staged(
            stager, workspace_in(tmp_path), session(simple(url, checksum=sha256(b"other")))
        )

        assert state.failure is not None
        assert kept(tmp_path) == []


async def test_the_cache_stays_within_its_bound_and_drops_what_was_used_longest_ago(
    tmp_path: Path,
) -> None:
    async with running_archive() as archive, running_stager(tmp_path, CACHED) as stager:
        contents = [os.urandom(300_000) for _ in range(4)]
        keys = [f"sha256-{hashlib.sha256(content).hexdigest()}" for content in contents]

        async def stage(i: int) -> None:
            data = simple(archive.add(f"/f{i}", contents[i]), checksum=sha256(contents[i]))
            assert (await staged(stager, workspace_in(tmp_path), session(data))).is_ready

        for i in (0, 1, 2, 0, 3):
            await stage(i)

        assert kept(tmp_path) == sorted([keys[0], keys[2], keys[3]])
        assert len(archive.asked) == 4


async def test_what_is_larger_than_the_cache_goes_by_it(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, CACHED) as stager:
        content = os.urandom(1_200_000)
        workspace = workspace_in(tmp_path)
        data = simple(archive.add("/f", content), checksum=sha256(content))

        assert (await staged(stager, workspace, session(data))).is_ready

        assert staged_file(workspace, "f").read_bytes() == content
        assert kept(tmp_path) == []


async def test_what_somebody_removed_is_fetched_again(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, CACHED) as stager:
        document = session(simple(archive.add("/f", CONTENT), checksum=sha256(CONTENT)))
        await staged(stager, workspace_in(tmp_path), document)
        for path in (tmp_path / "cache" / "objects").iterdir():
            path.unlink()

        assert (await staged(stager, workspace_in(tmp_path), document)).is_ready
        assert len(archive.asked) == 2


async def test_a_cached_file_still_has_to_fit_its_storage(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, CACHED) as stager:
        data = simple(archive.add("/f", CONTENT), checksum=sha256(CONTENT))
        await staged(stager, workspace_in(tmp_path), session(data))

        state = await staged(stager, workspace_in(tmp_path), session(data, size_gib=0))

        assert state.failure is not None
        assert "does not fit" in state.failure.text


def test_only_one_broker_uses_a_cache(tmp_path: Path) -> None:
    first, second = Cache(tmp_path, 10), Cache(tmp_path, 10)
    first.open()
    with pytest.raises(StorageError, match="another broker"):
        second.open()
    first.close()
    second.open()
    second.close()


def test_what_nobody_goes_on_fetching_is_removed_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / "incoming" / "old.part", tmp_path / "incoming" / "new.part"
    old.parent.mkdir()
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (1.0, 1.0))
    cache = Cache(tmp_path, 10)

    cache.open()

    assert not old.exists()
    assert new.exists()
    cache.close()


def test_a_smaller_bound_takes_effect_at_the_start(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1000)
    cache.open()
    checksum = Checksum("md5", "0" * 32)
    for i in range(3):
        part = cache.part(f"k{i}", checksum)
        part.restart()
        part.append(b"x" * 300)
        cache.admit(f"k{i}", part)
    cache.close()

    smaller = Cache(tmp_path, 700)
    smaller.open()
    assert [smaller.has(f"k{i}") for i in range(3)] == [False, True, True]
    smaller.close()


def test_the_key_of_a_strong_checksum_does_not_depend_on_the_place() -> None:
    strong, weak = Checksum("sha256", "0" * 64), Checksum("adler32", "0" * 8)

    assert cache_key(strong, ("a",)) == cache_key(strong, ("b",))
    assert cache_key(weak, ("a", "b")) == cache_key(weak, ("b", "a"))
    assert cache_key(weak, ("a",)) != cache_key(weak, ("b",))
