"""What is said of a request before an offer: refusals with their places, times, assumptions."""

from pathlib import Path
from typing import Any

import pytest

from gateway.wire import kinds
from gateway.wire.documents import Document
from gateway.wire.phases import MessageLevel
from gateway.wire.secret import Secret
from node_stub.appraisal import Appraisal
from node_stub.clock import SystemClock
from node_stub.staging import reasons
from node_stub.staging.settings import PushSettings, S3Credentials, StagingSettings
from node_stub.staging.stager import Stager
from tests.unit.node.staging.archive import running_archive
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
    workspace_in,
)

USUAL = StagingSettings(
    schemes=("https", "file"),
    hosts=("*.example.org",),
    file_roots=("/data",),
    max_file_gib=2,
    push=PushSettings(hosts=("results.example.org",)),
    s3_credentials={
        "site": S3Credentials(
            endpoints=("https://s3.example.org",), access_key=Secret("a"), secret_key=Secret("b")
        )
    },
)


def appraise(tmp_path: Path, document: Document, settings: StagingSettings = USUAL) -> Appraisal:
    stager = Stager(settings, tmp_path, SystemClock())
    return stager.estimate(document, shares_files=True)


def refusals(appraisal: Appraisal) -> list[tuple[str, str]]:
    return [
        (remark.path, remark.reason.kind)
        for remark in appraisal.remarks
        if remark.reason.level is MessageLevel.ERROR
    ]


def s3(**changes: Any) -> Document:
    members = {"endpoint": "https://s3.example.org", "bucket": "b", "object": "k"}
    return resource(kinds.S3_DATA, **{**members, **changes})


@pytest.mark.parametrize(
    ("data", "path", "reason"),
    [
        (simple("http://a.example.org/x"), "/data/0/location", reasons.SCHEME_REFUSED),
        (simple("https://a.evil.org/x"), "/data/0/location", reasons.HOST_REFUSED),
        (simple("https://me:pw@a.example.org/x"), "/data/0/location", reasons.USER_IN_URL),
        (simple("file:///etc/passwd"), "/data/0/location", reasons.FILE_REFUSED),
        (simple("not a url"), "/data/0/location", reasons.URL_SYNTAX),
        (simple("https://a.example.org/x", size=3 << 30), "/data/0", reasons.FILE_TOO_LARGE),
        (
            simple("https://a.example.org/x", size=(1 << 30) + 1),
            "/data/0/storage",
            reasons.STORAGE_TOO_SMALL,
        ),
        (
            simple("https://a.example.org/x", checksum={"type": "md5", "value": "abc"}),
            "/data/0",
            reasons.CHECKSUM_UNUSABLE,
        ),
        (
            s3(credentials="other"),
            "/data/0/template",
            reasons.CREDENTIALS_UNKNOWN,
        ),
        (
            s3(endpoint="https://x.example.org", credentials="site"),
            "/data/0/template",
            reasons.CREDENTIALS_ELSEWHERE,
        ),
        (
            resource(kinds.RUCIO_DATA, rucio={"scope": "s", "object": "o"}),
            "/data/0",
            reasons.NOT_LOCATED,
        ),
        (
            resource(kinds.SKAO_DATA, skao={"objectname": "o", "objecttype": "DATASET"}),
            "/data/0",
            reasons.NOT_ONE_FILE,
        ),
    ],
)
def test_what_cannot_be_fetched_is_refused_with_its_place(
    tmp_path: Path, data: Document, path: str, reason: Any
) -> None:
    appraisal = appraise(tmp_path, session(data))

    (remark,) = [r for r in appraisal.remarks if r.path == path and r.reason == reason]
    assert remark.reason.level is MessageLevel.ERROR
    said = reason.message(SystemClock().now(), **remark.values)["message"]
    assert "${" not in said
    assert "pw" not in said


@pytest.mark.parametrize(
    ("location", "credentials", "reason"),
    [
        ("https://evil.org/x", None, reasons.HOST_REFUSED),
        ("http://results.example.org/x", None, reasons.SCHEME_REFUSED),
        ("file:///tmp", None, reasons.SCHEME_REFUSED),
        ("https://results.example.org/x", "site", reasons.CREDENTIALS_ELSEWHERE),
        ("s3+https://results.example.org/b", "site", reasons.CREDENTIALS_ELSEWHERE),
        ("s3+https://results.example.org/b", "none", reasons.CREDENTIALS_UNKNOWN),
    ],
)
def test_a_destination_that_is_not_allowed_is_refused(
    tmp_path: Path, location: str, credentials: str | None, reason: Any
) -> None:
    document = session(location=location, credentials=credentials)

    appraisal = appraise(tmp_path, document)

    assert [(r.path, r.reason) for r in appraisal.remarks] == [("/storage/0/location", reason)]


def test_a_site_that_sends_nothing_refuses_every_destination(tmp_path: Path) -> None:
    document = session(location="https://results.example.org/x")

    assert refusals(appraise(tmp_path, document)) == []
    assert refusals(appraise(tmp_path, document, StagingSettings())) == [
        ("/storage/0/location", reasons.PUSH_REFUSED.kind)
    ]


@pytest.mark.parametrize("location", ["http://a.example.org/n", "nowhere", "", "file:///etc/n"])
def test_a_notebook_that_cannot_be_had_is_refused(tmp_path: Path, location: str) -> None:
    appraisal = appraise(tmp_path, session(notebook=location))

    assert [path for path, _ in refusals(appraisal)] == ["/executable/location"]


def test_a_notebook_among_the_data_is_not_refused(tmp_path: Path) -> None:
    document = session(simple("https://a.example.org/x", name="nb"), notebook="nb")

    assert refusals(appraise(tmp_path, document)) == []


def test_several_files_must_fit_together(tmp_path: Path) -> None:
    data = [simple("https://a.example.org/x", i, f"d{i}", size=600 << 20) for i in range(2)]

    assert [path for path, _ in refusals(appraise(tmp_path, session(*data)))] == ["/data/1/storage"]


def test_one_allowed_replica_is_enough_and_the_others_are_told(tmp_path: Path) -> None:
    found = [{"dataurl": "root://x.org/f"}, {"dataurl": "https://a.example.org/f?sig=secret"}]
    block = {"objectname": "f", "datasize": 5, "replicas": [*found, {"dataurl": "https://e.org/f"}]}

    appraisal = appraise(tmp_path, session(resource(kinds.SKAO_DATA, skao=block)))

    assert refusals(appraisal) == []
    assert [remark.path for remark in appraisal.remarks] == [
        "/data/0/skao/replicas/0/dataurl",
        "/data/0/skao/replicas/2/dataurl",
    ]


def test_times_come_from_sizes_and_what_is_assumed_is_said(tmp_path: Path) -> None:
    settings = StagingSettings(default_rate_mb_s=100, default_size_gib=1)
    known = simple("https://a.org/x", 0, "known", size=500_000_000)
    unknown = simple("https://a.org/y", 1, "unknown")

    appraisal = appraise(tmp_path, session(known, unknown, size_gib=2), settings)

    assert appraisal.estimates[data_uuid(0)].prepare_s == 6
    assert appraisal.estimates[data_uuid(1)].prepare_s == 12
    assert appraisal.estimates[STORE].prepare_s == 0
    assert [(r.path, r.reason) for r in appraisal.remarks] == [("/data/1", reasons.SIZE_ASSUMED)]


async def test_times_come_from_what_was_measured_and_from_the_cache(tmp_path: Path) -> None:
    content = b"x" * (2 << 20)
    settings = loopback(cache_gib=1, default_rate_mb_s=0.01)
    async with running_archive() as archive, running_stager(tmp_path, settings) as stager:
        url = archive.add("/f", content)
        cached = simple(url, size=len(content), checksum=sha256(content))
        other = simple(f"{archive.url}/g", size=len(content))

        def prepare_s(data: Document, *, shares_files: bool = True) -> int:
            appraisal = stager.estimate(session(data), shares_files=shares_files)
            return appraisal.estimates[data_uuid(0)].prepare_s

        assert prepare_s(other) > 200
        await staged(stager, workspace_in(tmp_path), session(cached))

        assert prepare_s(other) <= 10
        assert prepare_s(cached) == 0
        assert prepare_s(cached, shares_files=False) == 1
