"""What data resources mean: which files, where, and what is stated of them."""

from typing import Any

import pytest

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.staging.checksums import Checksum
from node_stub.staging.errors import RefusedError
from node_stub.staging.plans import WantedBucket, WantedFile, plan_data
from tests.unit.node.staging.sessions import resource, simple

MD5 = {"type": "md5", "value": "0" * 32}


def file_of(data: Document) -> WantedFile:
    wanted = plan_data(data, "/data/0").wanted
    assert isinstance(wanted, WantedFile)
    return wanted


def urls(wanted: WantedFile) -> list[str]:
    return [location.url for location in wanted.locations]


def skao(**members: Any) -> Document:
    block = {"namespace": "testing", "objectname": "dir/f1.fits", **members}
    return resource(kinds.SKAO_DATA, skao=block)


def replicas(*found: str) -> list[Document]:
    return [{"rsename": f"RSE{i}", "dataurl": url} for i, url in enumerate(found)]


def test_a_simple_resource_is_its_location_with_its_own_name() -> None:
    data = simple("https://h.org/a/cube%20one.fits?x=1", size=7, checksum=MD5)

    wanted = file_of(data)

    assert wanted.name == "cube one.fits"
    assert (wanted.size, wanted.checksum) == (7, Checksum("md5", "0" * 32))
    assert urls(wanted) == ["https://h.org/a/cube%20one.fits?x=1"]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://h.org/a/..%2f..%2fetc%2fpasswd", ".._.._etc_passwd"),
        ("https://h.org/a/%2e%2e", "__"),
        ("https://h.org/", "observation"),
        ("https://h.org", "observation"),
        ("https://h.org/-rf%0a%00", "_rf__"),
    ],
)
def test_a_name_cannot_be_injected(url: str, name: str) -> None:
    assert file_of(simple(url)).name == name


def test_replicas_are_tried_in_their_order_with_what_skao_states() -> None:
    found = replicas("https://near.org/f1", "davs://far.org/f1", "root://x.org/f1")

    wanted = file_of(skao(datasize=10, checksum=MD5, replicas=found))

    assert urls(wanted) == ["https://near.org/f1", "https://far.org/f1", "root://x.org/f1"]
    assert (wanted.name, wanted.size) == ("f1.fits", 10)
    assert wanted.checksum == Checksum("md5", "0" * 32)
    assert wanted.locations[1].pointer == "/skao/replicas/1/dataurl"


@pytest.mark.parametrize("kind", ["DATASET", "CONTAINER"])
def test_a_collection_is_refused_without_list_of_its_files(kind: str) -> None:
    for found in (
        replicas("https://a.org/set/", "https://b.org/set/"),
        replicas("https://a.org/f1", "https://a.org/f2"),
    ):
        with pytest.raises(RefusedError, match=kind):
            plan_data(skao(objecttype=kind, replicas=found), "/data/0")


def test_a_collection_that_is_one_file_with_known_size_is_that_file() -> None:
    found = replicas("https://a.org/f1", "https://b.org/f1")

    assert len(urls(file_of(skao(objecttype="DATASET", datasize=3, replicas=found)))) == 2


def test_rucio_without_replicas_is_refused_and_says_what_is_missing() -> None:
    data = resource(kinds.RUCIO_DATA, rucio={"scope": "testing", "object": "f1"})

    with pytest.raises(RefusedError, match=r"Nothing says where.*f1"):
        plan_data(data, "/data/0")


def test_rucio_with_replicas_is_fetched_from_them() -> None:
    block = {
        "scope": "testing",
        "object": "f1",
        "replicas": replicas("https://a.org/f1"),
        "datasize": 5,
        "checksum": {"type": "adler32", "value": "1"},
    }

    wanted = file_of(resource(kinds.RUCIO_DATA, rucio=block))

    assert urls(wanted) == ["https://a.org/f1"]
    assert (wanted.size, wanted.checksum) == (5, Checksum("adler32", "00000001"))


def test_ivoa_data_is_at_its_datalink_then_at_its_obscore() -> None:
    block = {
        "ivoid": "ivo://x/y",
        "obscore": {"access_url": "https://o.org/f", "access_estsize": 20},
        "datalink": {"access_url": "https://d.org/f", "content_length": 10},
    }

    wanted = file_of(resource(kinds.IVOA_DATA, ivoa=block))

    assert urls(wanted) == ["https://d.org/f", "https://o.org/f"]
    assert wanted.locations[0].size == 10
    assert (wanted.size, wanted.likely_size) == (None, 20_000)


@pytest.mark.parametrize(
    "block",
    [
        {"obscore": {"access_url": "https://o.org", "access_format": "x;content=datalink"}},
        {"datalink": {"access_url": "https://d.org", "error_message": "NotFoundFault"}},
        {"datalink": {"access_url": "https://d.org", "service_def": "cutout"}},
        {},
    ],
)
def test_a_link_to_something_else_than_the_data_is_not_fetched(block: Document) -> None:
    with pytest.raises(RefusedError, match="ivo://x/y"):
        plan_data(resource(kinds.IVOA_DATA, ivoa={"ivoid": "ivo://x/y", **block}), "/data/0")


def test_the_largest_length_of_datalink_is_no_size() -> None:
    block = {
        "ivoid": "x",
        "datalink": {"access_url": "https://d.org/f", "content_length": 2**31 - 1},
    }

    assert file_of(resource(kinds.IVOA_DATA, ivoa=block)).locations[0].size is None


@pytest.mark.parametrize("size", [-1, "7", 1.5, True])
def test_a_size_that_is_none_is_refused(size: object) -> None:
    with pytest.raises(RefusedError, match="size"):
        plan_data(simple("https://h.org/x", size=size), "/data/0")


def test_a_checksum_that_cannot_be_verified_is_refused_not_ignored() -> None:
    with pytest.raises(RefusedError, match="crc32"):
        plan_data(simple("https://h.org/x", checksum={"type": "crc32", "value": "0"}), "/data/0")


def s3(**members: Any) -> Document:
    block = {
        "endpoint": "https://s3.org",
        "template": "https://s3.org/{bucket}/{object}",
        "bucket": "b",
    }
    return resource(kinds.S3_DATA, **{**block, **members})


@pytest.mark.parametrize(
    ("members", "url"),
    [
        ({"object": "a/b c.fits"}, "https://s3.org/b/a/b%20c.fits"),
        ({"object": "../../x"}, "https://s3.org/b/../../x"),
        ({"object": "{bucket}?q#f"}, "https://s3.org/b/%7Bbucket%7D%3Fq%23f"),
        ({"object": "k", "template": "https://{bucket}.s3.org/{object}"}, "https://b.s3.org/k"),
        ({"object": "k", "template": "https://s3.org"}, "https://s3.org/b/k"),
        ({"object": "k", "template": None, "endpoint": "s3.org/"}, "https://s3.org/b/k"),
        (
            {"object": "k", "template": "https://s3.org/b/k?X-Amz-Signature=1%2F2"},
            "https://s3.org/b/k?X-Amz-Signature=1%2F2",
        ),
        (
            {"object": "k", "endpoint": "https://s3.org?sig=1"},
            "https://s3.org/b/k?sig=1",
        ),
    ],
)
def test_an_object_is_where_the_template_says(members: dict[str, Any], url: str) -> None:
    assert urls(file_of(s3(**members))) == [url]


@pytest.mark.parametrize(
    ("key", "name"), [("a/b/c.fits", "c.fits"), ("../../x", "x"), ("a/..", "__"), ("dir/", "dir")]
)
def test_an_object_has_the_end_of_its_key_as_name(key: str, name: str) -> None:
    assert file_of(s3(object=key)).name == name


def test_without_object_the_whole_bucket_is_meant() -> None:
    wanted = plan_data(s3(credentials="ours"), "/data/0").wanted

    assert isinstance(wanted, WantedBucket)
    assert wanted.credentials == "ours"
    assert wanted.bucket.list_url("t/1").startswith(
        "https://s3.org/b/?encoding-type=url&list-type=2"
    )
    assert wanted.bucket.list_url("t/1").endswith("continuation-token=t%2F1")


def test_a_bucket_cannot_have_a_checksum() -> None:
    with pytest.raises(RefusedError, match="bucket"):
        plan_data(s3(checksum=MD5), "/data/0")
