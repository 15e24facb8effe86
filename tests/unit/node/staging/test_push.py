"""Results sent where the request wants them."""

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # has no annotations
import pytest
from moto.server import ThreadedMotoServer

from gateway.wire.documents import Document
from gateway.wire.secret import Secret
from node_stub.platforms.runner import Workspace
from node_stub.staging.push import Pusher, PushError
from node_stub.staging.settings import PushSettings, S3Credentials, StagingSettings
from tests.unit.node.staging.archive import running_archive
from tests.unit.node.staging.sessions import (
    STORE,
    loopback,
    session,
    simple,
    staged_file,
    workspace_in,
)

LOOPBACK = PushSettings(hosts=("127.0.0.1",), schemes=("http",), private_addresses=True)


@asynccontextmanager
async def running_pusher(settings: StagingSettings) -> AsyncIterator[Pusher]:
    pusher = Pusher(settings)
    await pusher.open()
    try:
        yield pusher
    finally:
        await pusher.close()


def results(folder: Path, files: dict[str, bytes]) -> Workspace:
    workspace = workspace_in(folder)
    for name, content in files.items():
        path = workspace.storage / STORE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (workspace.storage / STORE).mkdir(exist_ok=True)
    return workspace


async def pushed(workspace: Workspace, document: Document, **settings: Any) -> Any:
    async with running_pusher(loopback(**{"push": LOOPBACK, **settings})) as pusher:
        return await pusher.push(document, workspace)


async def test_every_result_arrives_under_its_path_with_its_checksum(tmp_path: Path) -> None:
    files = {"a.txt": b"a", "d/ü 1.fits": os.urandom(3 << 20), "empty": b""}
    async with running_archive() as archive:
        workspace = results(tmp_path, files)
        document = session(location=f"{archive.url}/home/me?token=secret")

        report = await pushed(workspace, document)

        assert archive.stored == {
            "/home/me/a.txt": b"a",
            "/home/me/d/%C3%BC%201.fits": files["d/ü 1.fits"],
            "/home/me/empty": b"",
        }
        assert all(path.endswith("?token=secret") for _, path in archive.asked)
        assert {file.path: (file.size, file.sha256) for file in report.files} == {
            name: (len(content), hashlib.sha256(content).hexdigest())
            for name, content in files.items()
        }
        assert "secret" not in repr(report)


async def test_storage_without_location_stays(tmp_path: Path) -> None:
    report = await pushed(results(tmp_path, {"a": b"a"}), session())

    assert report.files == ()


async def test_what_was_staged_is_not_sent_back(tmp_path: Path) -> None:
    async with running_archive() as archive:
        workspace = results(tmp_path, {"out": b"o"})
        staged = staged_file(workspace, "in.fits")
        staged.parent.mkdir()
        staged.write_bytes(b"i")
        document = session(simple("https://h.org/in.fits"), location=archive.url)

        await pushed(workspace, document)

        assert set(archive.stored) == {"/out"}


async def test_links_that_a_job_left_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "secret").write_bytes(b"secret")
    async with running_archive() as archive:
        workspace = results(tmp_path, {"out": b"o"})
        store = workspace.storage / STORE
        (store / "link").symlink_to(tmp_path / "secret")
        (store / "dir").symlink_to(tmp_path / "folder")
        os.mkfifo(store / "pipe")

        await pushed(workspace, session(location=archive.url))

        assert set(archive.stored) == {"/out"}


async def test_a_storage_directory_replaced_by_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "secret").write_bytes(b"secret")
    async with running_archive() as archive:
        workspace = workspace_in(tmp_path)
        (workspace.storage / STORE).symlink_to(tmp_path / "folder")

        with pytest.raises(PushError):
            await pushed(workspace, session(location=archive.url))

        assert archive.stored == {}


async def test_a_busy_destination_is_asked_again_and_a_refusing_one_is_not(tmp_path: Path) -> None:
    async with running_archive() as archive:
        archive.refusals = [503, 429]
        document = session(location=archive.url)
        workspace = results(tmp_path, {"a": b"a"})
        await pushed(workspace, document)
        assert archive.stored == {"/a": b"a"}

        archive.stored.clear()
        archive.refusals = [403]
        with pytest.raises(PushError, match="HTTP 403") as caught:
            await pushed(results(tmp_path, {"a": b"a", "b": b"b"}), document)

        failed = [file for file in caught.value.report.files if file.error is not None]
        assert len(failed) == 1
        assert len(archive.stored) == 1


async def test_a_redirect_of_a_put_is_followed_only_where_it_may_go(tmp_path: Path) -> None:
    async with running_archive() as archive, running_archive() as other:
        workspace = results(tmp_path, {"a": b"a"})
        archive.redirects["/a"] = f"{other.url}/pool/a"
        await pushed(workspace, session(location=archive.url))
        assert other.stored == {"/pool/a": b"a"}

        archive.redirects["/a"] = f"{other.url.replace('127.0.0.1', 'localhost')}/pool/b"
        with pytest.raises(PushError, match="host"):
            await pushed(workspace, session(location=archive.url))


@pytest.mark.parametrize(
    "push",
    [
        PushSettings(),
        PushSettings(hosts=("*",), schemes=("http",)),
        PushSettings(hosts=("*",), private_addresses=True),
        PushSettings(hosts=("results.example.org",), schemes=("http",), private_addresses=True),
    ],
)
async def test_results_go_only_where_the_site_allows(tmp_path: Path, push: PushSettings) -> None:
    async with running_archive() as archive:
        workspace = results(tmp_path, {"a": b"a"})

        with pytest.raises(PushError):
            await pushed(workspace, session(location=archive.url), push=push)

        assert archive.asked == []


async def test_too_many_results_are_refused(tmp_path: Path) -> None:
    async with running_archive() as archive:
        workspace = results(tmp_path, {f"f{i}": b"" for i in range(4)})
        push = PushSettings(hosts=("*",), schemes=("http",), private_addresses=True, max_files=3)

        with pytest.raises(PushError, match="more than 3"):
            await pushed(workspace, session(location=archive.url), push=push)

        assert archive.asked == []


@pytest.fixture
def service() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


async def test_results_arrive_in_a_bucket_of_s3(tmp_path: Path, service: str) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=service,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket="results")
    keys = S3Credentials(
        endpoints=(service,), access_key=Secret("key"), secret_key=Secret("secret")
    )
    workspace = results(tmp_path, {"d/a b+c.txt": b"content"})
    document = session(location=f"s3+{service}/results/run 1".replace(" ", "-"), credentials="site")

    await pushed(workspace, document, s3_credentials={"site": keys})

    found = client.get_object(Bucket="results", Key="run-1/d/a b+c.txt")["Body"].read()
    assert found == b"content"


async def test_keys_of_s3_are_not_used_for_anything_else(tmp_path: Path) -> None:
    async with running_archive() as archive:
        keys = S3Credentials(
            endpoints=(archive.url,), access_key=Secret("key"), secret_key=Secret("secret")
        )
        workspace = results(tmp_path, {"a": b"a"})
        document = session(location=archive.url, credentials="site")

        with pytest.raises(PushError, match="not for this endpoint"):
            await pushed(workspace, document, s3_credentials={"site": keys})

        assert archive.asked == []
