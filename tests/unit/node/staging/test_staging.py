"""Staging of whole sessions from a real archive: found, fetched, resumed, verified, in place."""

import hashlib
import os
import zlib
from pathlib import Path
from typing import Any

import pytest

from gateway.wire import kinds
from gateway.wire.phases import ComponentPhase
from node_stub.platforms.base import EndReason
from node_stub.staging.records import StagingSpec
from node_stub.standing import Component
from tests.support.waiting import until
from tests.unit.node.staging.archive import Archive, running_archive
from tests.unit.node.staging.sessions import (
    STORE,
    data_uuid,
    loopback,
    resource,
    running_stager,
    session,
    sha256,
    simple,
    staged,
    staged_file,
    volume,
    why_not,
    workspace_in,
)

CONTENT = os.urandom(3 << 20)


async def fetched(folder: Path, archive: Archive, path: str, **more: Any) -> bytes:
    """What lies in place of the file at this path; it must come."""
    async with running_stager(folder, loopback()) as stager:
        workspace = workspace_in(folder)
        document = session(simple(f"{archive.url}{path}", **more))
        state = await staged(stager, workspace, document)
        assert state.failure is None, state.failure
        return staged_file(workspace, path.rpartition("/")[2]).read_bytes()


async def test_a_session_gets_its_data_under_its_own_name(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, loopback()) as stager:
        url = archive.add("/a/cube.fits", CONTENT)
        workspace = workspace_in(tmp_path)

        state = await staged(stager, workspace, session(simple(url, checksum=sha256(CONTENT))))

        assert state.is_ready
        assert state.failure is None
        assert state.bytes_staged == len(CONTENT)
        assert state.staging_s > 0
        assert state.components == {
            Component.STORAGE: ComponentPhase.AVAILABLE,
            Component.DATA: ComponentPhase.AVAILABLE,
        }
        file = staged_file(workspace, "cube.fits")
        assert file.read_bytes() == CONTENT
        assert file.stat().st_mode & 0o777 == 0o444
        assert (workspace.storage / STORE).stat().st_mode & 0o777 == 0o777
        assert not (workspace.root / "incoming").exists()


async def test_data_that_a_job_may_write_to_can_be_written_by_anybody(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, loopback()) as stager:
        url = archive.add("/cube.fits", b"x")
        workspace = workspace_in(tmp_path)
        mount = volume(STORE, mode="READWRITE")

        await staged(stager, workspace, session(simple(url), volumes=(mount,)))

        file = staged_file(workspace, "cube.fits")
        assert file.stat().st_mode & 0o777 == 0o666
        assert file.parent.stat().st_mode & 0o777 == 0o777


@pytest.mark.parametrize(
    "content", [b"", b"x", CONTENT[: (1 << 20) + 1]], ids=["empty", "one-byte", "over-a-mebibyte"]
)
async def test_any_size_arrives(tmp_path: Path, content: bytes) -> None:
    async with running_archive() as archive:
        archive.add("/f", content)
        archive.add("/chunked", content, has_length=False)

        assert await fetched(tmp_path, archive, "/f", checksum=sha256(content)) == content
        assert await fetched(tmp_path, archive, "/chunked") == content


async def test_a_broken_transfer_is_resumed_where_it_broke(tmp_path: Path) -> None:
    async with running_archive() as archive:
        archive.add("/f", CONTENT, breaks=[1_500_000, 400_000])

        assert await fetched(tmp_path, archive, "/f", checksum=sha256(CONTENT)) == CONTENT

        first, second = (int(asked[6:-1]) for asked in archive.ranges())
        assert 0 < first <= 1_500_000
        assert first < second <= first + 400_000
        assert archive.headers[1]["If-Range"].startswith('"')


async def test_without_checksum_only_the_same_version_is_resumed(tmp_path: Path) -> None:
    async with running_archive() as archive:
        archive.add("/f", CONTENT, breaks=[1_500_000])
        archive.add("/unversioned", CONTENT, breaks=[1_500_000], has_etag=False)

        assert await fetched(tmp_path, archive, "/f") == CONTENT
        assert len(archive.ranges()) == 1
        assert await fetched(tmp_path, archive, "/unversioned") == CONTENT
        assert len(archive.ranges()) == 1


async def test_a_file_that_changes_half_way_is_fetched_anew(tmp_path: Path) -> None:
    changed = CONTENT[::-1]
    async with running_archive() as archive, running_stager(tmp_path, loopback()) as stager:
        url = archive.add("/f", CONTENT, breaks=[1_500_000], statuses=[])
        archive.files["/f"].next_content = changed
        workspace = workspace_in(tmp_path)

        assert (await staged(stager, workspace, session(simple(url)))).is_ready

        assert staged_file(workspace, "f").read_bytes() == changed
        assert len(archive.ranges()) == 1


async def test_a_server_without_ranges_is_asked_from_the_beginning(tmp_path: Path) -> None:
    async with running_archive() as archive:
        archive.add("/f", CONTENT, breaks=[1_500_000], has_ranges=False)

        assert await fetched(tmp_path, archive, "/f", checksum=sha256(CONTENT)) == CONTENT


@pytest.mark.parametrize(
    "content_range",
    ["bytes 0-3145727/3145728", "bytes 7-3145727/3145728", "bytes */3145728", "nonsense", ""],
)
async def test_another_range_than_asked_for_is_not_glued_in(
    tmp_path: Path, content_range: str
) -> None:
    async with running_archive() as archive:
        archive.add("/f", CONTENT, breaks=[1_500_000], content_range=content_range or " ")

        assert await fetched(tmp_path, archive, "/f") == CONTENT
        assert ["Range" in headers for headers in archive.headers] == [False, True, False]


async def test_a_failing_server_is_asked_again_and_a_refusing_one_is_not(tmp_path: Path) -> None:
    async with running_archive() as archive:
        archive.add("/f", b"x", statuses=[503, 429])
        assert await fetched(tmp_path, archive, "/f") == b"x"
        assert len(archive.asked) == 3

        for status in (403, 404, 410):
            archive.asked.clear()
            url = archive.add("/g", b"x", statuses=[status])
            assert f"HTTP {status}" in await why_not(tmp_path, session(simple(url)))
            assert len(archive.asked) == 1


async def test_attempts_are_bounded(tmp_path: Path) -> None:
    async with running_archive() as archive:
        url = archive.add("/f", b"x", statuses=[500] * 10)

        assert "HTTP 500" in await why_not(tmp_path, session(simple(url)))
        assert len(archive.asked) == 3


def md5(content: bytes) -> dict[str, str]:
    return {"type": "md5", "value": hashlib.md5(content).hexdigest()}


def adler32(content: bytes) -> dict[str, str]:
    return {"type": "adler32", "value": f"{zlib.adler32(content):x}"}


async def test_a_bad_replica_costs_only_itself(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, loopback()) as stager:
        found = [
            {"dataurl": archive.add("/gone/f1", b"", statuses=[404])},
            {"dataurl": "root://xrootd.example.org/f1"},
            {"dataurl": archive.add("/bad/f1", b"y" + CONTENT[1:])},
            {"dataurl": archive.add("/good/f1", CONTENT)},
        ]
        block = {"objectname": "f1", "datasize": len(CONTENT), "checksum": md5(CONTENT)}
        workspace = workspace_in(tmp_path)
        data = resource(kinds.SKAO_DATA, skao={**block, "replicas": found})

        state = await staged(stager, workspace, session(data))

        assert state.is_ready
        assert staged_file(workspace, "f1").read_bytes() == CONTENT
        assert [path for _, path in archive.asked] == ["/gone/f1", "/bad/f1", "/good/f1"]


async def test_the_bytes_of_a_replica_that_broke_are_gone_on_with_at_the_next(
    tmp_path: Path,
) -> None:
    async with running_archive() as archive, running_stager(tmp_path, loopback()) as stager:
        breaks = [1_500_000, 0, 0, 0]
        found = [
            {"dataurl": archive.add("/a/f1", CONTENT, breaks=breaks)},
            {"dataurl": archive.add("/b/f1", CONTENT)},
        ]
        block = {"objectname": "f1", "checksum": adler32(CONTENT), "replicas": found}
        workspace = workspace_in(tmp_path)

        await staged(stager, workspace, session(resource(kinds.SKAO_DATA, skao=block)))

        assert staged_file(workspace, "f1").read_bytes() == CONTENT
        assert archive.asked[-1] == ("GET", "/b/f1")
        assert int(archive.ranges()[-1][6:-1]) > 0


async def test_glued_data_that_is_wrong_is_fetched_once_more_as_a_whole(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, loopback()) as stager:
        wrong = os.urandom(len(CONTENT))
        found = [
            {"dataurl": archive.add("/a/f1", wrong, breaks=[1_500_000, 0, 0, 0])},
            {"dataurl": archive.add("/b/f1", CONTENT)},
        ]
        block = {"objectname": "f1", "checksum": md5(CONTENT), "replicas": found}
        workspace = workspace_in(tmp_path)

        state = await staged(stager, workspace, session(resource(kinds.SKAO_DATA, skao=block)))

        assert state.is_ready
        assert staged_file(workspace, "f1").read_bytes() == CONTENT


async def test_the_reason_of_every_location_is_told(tmp_path: Path) -> None:
    async with running_archive() as archive:
        found = [
            {"dataurl": archive.add("/a/f1", b"", statuses=[404])},
            {"dataurl": archive.add("/b/f1", b"other")},
            {"dataurl": "ftp://ftp.example.org/f1"},
        ]
        block = {"objectname": "f1", "checksum": md5(b"this"), "replicas": found}

        text = await why_not(tmp_path, session(resource(kinds.SKAO_DATA, skao=block)))

        assert "/a/f1: HTTP 404" in text
        assert "/b/f1: its md5 is" in text
        assert "ftp://ftp.example.org/f1: The scheme [ftp]" in text


async def test_a_stated_size_is_verified(tmp_path: Path) -> None:
    async with running_archive() as archive:
        url = archive.add("/f", b"12345")
        chunked = archive.add("/g", b"12345", has_length=False)

        for size in (4, 6):
            for where in (url, chunked):
                text = await why_not(tmp_path, session(simple(where, size=size)))
                assert f"stated {size}" in text


async def test_several_files_are_fetched_at_once_but_not_more_than_allowed(tmp_path: Path) -> None:
    async with running_archive() as archive:
        urls = [archive.add(f"/f{i}", b"x" * 10, drip_s=0.02) for i in range(6)]
        data = [simple(url, i, f"d{i}") for i, url in enumerate(urls)]
        settings = loopback(parallel=3, parallel_per_session=3)
        async with running_stager(tmp_path, settings) as stager:
            workspace = workspace_in(tmp_path)
            await stager.begin(StagingSpec(workspace, session(*data), shares_files=False))
            await until(lambda: len(archive.asked) >= 3)
            assert len(archive.asked) == 3

            await until(lambda: len(archive.asked) == 6)


async def test_beginning_twice_fetches_once(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, loopback()) as stager:
        workspace = workspace_in(tmp_path)
        spec = StagingSpec(workspace, session(simple(archive.add("/f", b"x"))), shares_files=False)

        await stager.begin(spec)
        await staged(stager, workspace, spec.document)
        await stager.begin(spec)

        assert len(archive.asked) == 1


async def test_a_settled_session_is_still_so_for_the_next_broker(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path)
    async with running_archive() as archive:
        document = session(simple(archive.add("/f", b"x")))
        async with running_stager(tmp_path, loopback()) as stager:
            state = await staged(stager, workspace, document)
        async with running_stager(tmp_path, loopback()) as stager:
            assert await stager.resume(workspace)
            assert await stager.state(workspace) == state

        assert len(archive.asked) == 1


async def test_a_closed_stager_leaves_what_the_next_one_goes_on_with(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path)
    async with running_archive() as archive:
        url = archive.add("/slow", CONTENT[:400_000], drip_s=0.01)
        done = archive.add("/done", b"x")
        document = session(simple(done, 0, "done"), simple(url, 1, "slow"))
        async with running_stager(tmp_path, loopback()) as stager:
            await stager.begin(StagingSpec(workspace, document, shares_files=False))
            await until(staged_file(workspace, "done", "done").exists)
            await until(lambda: ("GET", "/slow") in archive.asked)
        archive.files["/slow"].drip_s = 0
        async with running_stager(tmp_path, loopback()) as stager:
            state = await stager.state(workspace)
            assert state is not None
            assert not state.is_settled
            assert await stager.resume(workspace)
            state = await staged(stager, workspace, document)

        assert state.is_ready
        assert staged_file(workspace, "slow", "slow").read_bytes() == CONTENT[:400_000]
        assert [path for _, path in archive.asked].count("/done") == 1


async def test_a_cancelled_session_is_left_where_it_is(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, loopback()) as stager:
        workspace = workspace_in(tmp_path)
        document = session(simple(archive.add("/f", CONTENT, drip_s=0.01)))
        await stager.begin(StagingSpec(workspace, document, shares_files=False))
        await until(lambda: bool(archive.asked))

        await stager.cancel(workspace.session)

        assert [path for path in workspace.storage.rglob("*") if path.is_file()] == []
        await stager.cancel(workspace.session)


async def test_an_unknown_session_has_no_state(tmp_path: Path) -> None:
    async with running_stager(tmp_path, loopback()) as stager:
        workspace = workspace_in(tmp_path)

        assert await stager.state(workspace) is None
        assert not await stager.resume(workspace)


async def test_a_defect_of_ours_ends_the_session_too(tmp_path: Path) -> None:
    async with running_stager(tmp_path, loopback()) as stager:
        workspace = workspace_in(tmp_path)
        document = session(simple("http://127.0.0.1:1/f"))
        del document["data"][0]["kind"]  # which every checked document has

        state = await staged(stager, workspace, document)

        assert state.failure is not None
        assert state.failure.reason is EndReason.NODE


async def test_a_session_without_data_has_its_storage(tmp_path: Path) -> None:
    async with running_stager(tmp_path, loopback()) as stager:
        workspace = workspace_in(tmp_path)

        state = await staged(stager, workspace, session())

        assert state.is_ready
        assert (workspace.storage / STORE).is_dir()


async def test_data_that_outgrows_its_storage_fails_the_storage(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, loopback()) as stager:
        urls = [archive.add("/a", b"x"), archive.add("/b", b"y", has_length=False)]
        for url in urls:
            workspace = workspace_in(tmp_path)
            state = await staged(stager, workspace, session(simple(url), size_gib=0))

            assert state.failure is not None
            assert state.failure.component is Component.STORAGE
            assert state.failure.reason is EndReason.STORAGE
            assert state.components[Component.STORAGE] is ComponentPhase.FAILED


async def test_two_resources_of_one_name_do_not_meet(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, loopback()) as stager:
        workspace = workspace_in(tmp_path)
        first, second = archive.add("/a/f", b"1"), archive.add("/b/f", b"2")
        document = session(simple(first, 0, "x/y"), simple(second, 1, "x\\y"))

        assert (await staged(stager, workspace, document)).is_ready

        found = sorted(path.read_bytes() for path in workspace.storage.rglob("f"))
        assert found == [b"1", b"2"]


async def test_a_notebook_is_fetched_beside_the_data(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, loopback()) as stager:
        workspace = workspace_in(tmp_path)
        document = session(notebook=archive.add("/n.ipynb", b"{}"))

        state = await staged(stager, workspace, document)

        assert workspace.notebook.read_bytes() == b"{}"
        assert state.components[Component.EXECUTABLE] is ComponentPhase.AVAILABLE


@pytest.mark.parametrize("reference", ["pipeline", data_uuid(0)])
async def test_a_notebook_may_be_a_data_resource(tmp_path: Path, reference: str) -> None:
    async with running_archive() as archive, running_stager(tmp_path, loopback()) as stager:
        workspace = workspace_in(tmp_path)
        url = archive.add("/n.ipynb", b"{}")

        state = await staged(
            stager, workspace, session(simple(url, name="pipeline"), notebook=reference)
        )

        assert state.is_ready
        assert workspace.notebook.read_bytes() == b"{}"
        assert len(archive.asked) == 1


async def test_a_notebook_that_is_missing_or_too_large_fails_the_executable(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, loopback()) as stager:
        huge = archive.add("/huge.ipynb", b"x" * ((64 << 20) + 1))
        for location in (f"{archive.url}/none", huge):
            workspace = workspace_in(tmp_path)
            state = await staged(stager, workspace, session(notebook=location))

            assert state.failure is not None
            assert state.failure.component is Component.EXECUTABLE
            assert not workspace.notebook.exists()


async def test_packed_files_are_kept_as_they_are_and_unasked_packing_is_refused(
    tmp_path: Path,
) -> None:
    packed = {"Content-Encoding": "gzip"}
    async with running_archive() as archive:
        archive.add("/cube.fits.gz", b"\x1f\x8b packed", headers=packed)
        url = archive.add("/cube.fits", b"\x1f\x8b bomb", headers=packed)

        assert await fetched(tmp_path, archive, "/cube.fits.gz") == b"\x1f\x8b packed"
        assert "packed with gzip" in await why_not(tmp_path, session(simple(url)))
        assert all(headers["Accept-Encoding"] == "identity" for headers in archive.headers)
