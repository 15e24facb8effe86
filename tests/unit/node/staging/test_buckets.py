"""S3: one object or a whole bucket from a service by others, and signatures that verify."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # has no annotations
import pytest
from aiohttp import web
from botocore.auth import S3SigV4Auth  # type: ignore[import-untyped]  # has no annotations
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # has no annotations
from botocore.config import Config  # type: ignore[import-untyped]  # has no annotations
from botocore.credentials import Credentials  # type: ignore[import-untyped]  # has no annotations
from moto.server import ThreadedMotoServer

from gateway.wire import kinds
from gateway.wire.documents import Document
from gateway.wire.secret import Secret
from node_stub.staging.errors import SourceError
from node_stub.staging.plans import plan_data
from node_stub.staging.push import Pusher
from node_stub.staging.s3 import read_page
from node_stub.staging.settings import PushSettings, S3Credentials, StagingSettings
from tests.unit.node.staging.archive import serving
from tests.unit.node.staging.sessions import (
    STORE,
    in_thread,
    loopback,
    resource,
    running_stager,
    session,
    staged,
    staged_file,
    why_not,
    workspace_in,
)

KEY, SECRET = "AKIAEXAMPLE", "a-secret-of-the-site"


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """moto's S3 on loopback; its URL."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def client(service: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=service,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def bucket_of(client: Any, name: str, objects: dict[str, bytes]) -> str:
    client.create_bucket(Bucket=name)
    for key, content in objects.items():
        client.put_object(Bucket=name, Key=key, Body=content, ACL="public-read")
    return name


def s3(service: str, bucket: str, key: str | None = None, **more: Any) -> Document:
    members = {"endpoint": service, "template": f"{service}/{{bucket}}/{{object}}"}
    if key is not None:
        members["object"] = key
    return resource(kinds.S3_DATA, bucket=bucket, **{**members, **more})


def with_keys(endpoint: str, **changes: Any) -> StagingSettings:
    keys = S3Credentials(endpoints=(endpoint,), access_key=Secret(KEY), secret_key=Secret(SECRET))
    return loopback(s3_credentials={"site": keys}, **changes)


async def test_an_object_is_fetched_by_anybody(tmp_path: Path, service: str, client: Any) -> None:
    bucket = bucket_of(client, "one", {"a/b c+d.fits": b"content"})
    async with running_stager(tmp_path, loopback()) as stager:
        workspace = workspace_in(tmp_path)

        state = await staged(stager, workspace, session(s3(service, bucket, "a/b c+d.fits")))

        assert state.failure is None
        assert staged_file(workspace, "b c+d.fits").read_bytes() == b"content"


async def test_a_presigned_url_is_fetched_as_it_is(
    tmp_path: Path, service: str, client: Any
) -> None:
    bucket = bucket_of(client, "presigned", {"k.fits": b"content"})
    url = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k.fits"})
    async with running_stager(tmp_path, loopback()) as stager:
        workspace = workspace_in(tmp_path)

        state = await staged(
            stager, workspace, session(s3(service, bucket, "k.fits", template=url))
        )

        assert state.failure is None
        assert staged_file(workspace, "k.fits").read_bytes() == b"content"


async def test_a_whole_bucket_is_fetched_page_by_page(
    tmp_path: Path, service: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node_stub.staging.s3.PAGE_SIZE", 3)
    objects = {f"d{i % 2}/f {i}&<é>.fits": str(i).encode() for i in range(8)}
    bucket = bucket_of(client, "whole", {**objects, "d0/": b""})
    settings = with_keys(service)
    async with running_stager(tmp_path, settings) as stager:
        workspace = workspace_in(tmp_path)
        document = session(s3(service, bucket, credentials="site"))

        state = await staged(stager, workspace, document)

        assert state.failure is None
        folder = staged_file(workspace, "")
        found = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert sorted(found.values()) == sorted(objects.values())
        assert {path.parent.name for path in found} == {"d0", "d1"}
        assert state.bytes_staged == 8


def files_of_one_byte(folder: Path) -> list[Path]:
    found = [path.resolve() for path in folder.rglob("*") if path.is_file()]
    return [path for path in found if path.stat().st_size == 1]


async def test_keys_that_lead_out_stay_inside(tmp_path: Path, client: Any) -> None:
    listing = (
        "<ListBucketResult><IsTruncated>false</IsTruncated>"
        "<Contents><Key>../../../../escaped</Key><Size>1</Size></Contents>"
        "<Contents><Key>/etc/passwd</Key><Size>1</Size></Contents>"
        "<Contents><Key>a/../../b</Key><Size>1</Size></Contents></ListBucketResult>"
    )

    async def handle(request: web.Request) -> web.Response:
        if "list-type" in request.query:
            return web.Response(text=listing, content_type="application/xml")
        return web.Response(body=b"x")

    async with serving(handle) as url, running_stager(tmp_path, loopback()) as stager:
        workspace = workspace_in(tmp_path)

        state = await staged(stager, workspace, session(s3(url, "evil")))

        assert state.failure is None
        folder = staged_file(workspace, "")
        files = await in_thread(files_of_one_byte, tmp_path)
        assert len(files) == 3
        assert all(path.is_relative_to(folder) for path in files)


async def test_a_bucket_with_too_many_objects_or_bytes_is_refused(
    tmp_path: Path, service: str, client: Any
) -> None:
    bucket = bucket_of(client, "many", {f"f{i}": b"x" for i in range(4)})

    text = await why_not(tmp_path, session(s3(service, bucket)), loopback(max_objects=3))
    assert "more than 3 objects" in text
    text = await why_not(tmp_path, session(s3(service, bucket), size_gib=0))
    assert "does not fit" in text


async def test_a_missing_bucket_is_a_clear_failure(tmp_path: Path, service: str) -> None:
    assert "HTTP 404" in await why_not(tmp_path, session(s3(service, "nowhere")))


class Verifier:
    """Serves and stores only for a signature that botocore makes itself from the same request."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.stored: dict[str, bytes] = {}

    async def handle(self, request: web.Request) -> web.Response:
        sent = request.headers.get("Authorization", "")
        self.seen.append(sent)
        again = AWSRequest(method=request.method, url=f"http://{request.host}{request.raw_path}")
        again.context["timestamp"] = request.headers.get("X-Amz-Date", "")
        auth = S3SigV4Auth(Credentials(KEY, SECRET), "s3", "us-east-1")
        if not again.context["timestamp"]:
            return web.Response(status=403)
        again.headers["X-Amz-Date"] = again.context["timestamp"]
        again.headers["X-Amz-Content-SHA256"] = request.headers["X-Amz-Content-SHA256"]
        canonical = auth.canonical_request(again)
        signature = auth.signature(auth.string_to_sign(again, canonical), again)
        if not sent.endswith(f"Signature={signature}"):
            return web.Response(status=403)
        if request.method == "PUT":
            body = await request.read()
            if hashlib.sha256(body).hexdigest() != request.headers["X-Amz-Content-SHA256"]:
                return web.Response(status=400)
            self.stored[request.raw_path] = body
            return web.Response()
        if "list-type" in request.query:
            return web.Response(
                text="<ListBucketResult><Contents><Key>a b</Key><Size>11</Size></Contents>"
                "</ListBucketResult>"
            )
        return web.Response(body=b"secret data")


async def test_our_signature_is_that_of_botocore(tmp_path: Path) -> None:
    verifier = Verifier()
    async with serving(verifier.handle) as url:
        key = "a b/c+d&e=f/ü.fits"
        async with running_stager(tmp_path, with_keys(url)) as stager:
            workspace = workspace_in(tmp_path)
            state = await staged(stager, workspace, session(s3(url, "b", key, credentials="site")))
            assert state.failure is None
            assert staged_file(workspace, "ü.fits").read_bytes() == b"secret data"

        assert "HTTP 403" in await why_not(tmp_path, session(s3(url, "b", key)), with_keys(url))
        assert verifier.seen[-1] == ""


async def test_the_list_of_a_bucket_is_signed_with_its_query(tmp_path: Path) -> None:
    verifier = Verifier()
    async with serving(verifier.handle) as url, running_stager(tmp_path, with_keys(url)) as stager:
        workspace = workspace_in(tmp_path)

        state = await staged(stager, workspace, session(s3(url, "b", credentials="site")))

        assert state.failure is None
        assert staged_file(workspace, "a b").read_bytes() == b"secret data"


async def test_what_is_sent_is_signed_with_its_checksum(tmp_path: Path) -> None:
    verifier = Verifier()
    async with serving(verifier.handle) as url:
        push = PushSettings(hosts=("*",), schemes=("http",), private_addresses=True)
        pusher = Pusher(with_keys(url, push=push))
        await pusher.open()
        workspace = workspace_in(tmp_path)
        (workspace.storage / STORE).mkdir()
        (workspace.storage / STORE / "a b+c").write_bytes(b"result")

        await pusher.push(session(location=f"s3+{url}/b/p", credentials="site"), workspace)

        assert verifier.stored == {"/b/p/a%20b%2Bc": b"result"}
        await pusher.close()


async def test_keys_are_not_sent_to_another_endpoint(tmp_path: Path) -> None:
    verifier = Verifier()
    async with serving(verifier.handle) as url:
        document = session(s3(url, "b", "k", credentials="site"))
        text = await why_not(tmp_path, document, with_keys("http://127.0.0.1:1"))
        assert "not for this endpoint" in text
        text = await why_not(
            tmp_path, session(s3(url, "b", "k", credentials="other")), with_keys(url)
        )
        assert "no credentials of this name [other]" in text

    assert verifier.seen == []


async def test_keys_do_not_follow_a_redirect_to_another_origin(tmp_path: Path) -> None:
    verifier = Verifier()
    async with serving(verifier.handle) as other:

        async def redirect(request: web.Request) -> web.Response:
            return web.Response(status=307, headers={"Location": f"{other}{request.raw_path}"})

        async with serving(redirect) as url:
            document = session(s3(url, "b", "k", credentials="site"))
            assert "HTTP 403" in await why_not(tmp_path, document, with_keys(url))

    assert verifier.seen == [""]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<html></html>",
        b"<ListBucketResult><Contents><Key>k</Key></Contents></ListBucketResult>",
        b"<ListBucketResult><Contents><Key>k</Key><Size>-1</Size></Contents></ListBucketResult>",
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><ListBucketResult>&a;</ListBucketResult>',
    ],
)
def test_what_is_no_list_is_refused(body: bytes) -> None:
    with pytest.raises(SourceError):
        read_page(body)


async def test_a_list_without_end_is_left(tmp_path: Path) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(
            text="<ListBucketResult><IsTruncated>true</IsTruncated>"
            "<NextContinuationToken>t</NextContinuationToken>"
            "<Contents><Key>k</Key><Size>1</Size></Contents></ListBucketResult>"
        )

    async with serving(handle) as url:
        assert "come to an end" in await why_not(tmp_path, session(s3(url, "b")))


def test_the_plan_of_a_bucket_shows_no_secret() -> None:
    data = s3("https://s3.org", "b", credentials="site")

    assert SECRET not in repr(plan_data(data, "/data/0"))
    assert SECRET not in repr(with_keys("https://s3.org"))
