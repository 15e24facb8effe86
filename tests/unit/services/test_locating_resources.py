"""What data resources point to: data of the lake by any of their names, or a host that is known."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.holdings import Checksum, Copy, Did, DidKind, Holding, Part, Place
from gateway.services.locating_resources import (
    HostSites,
    did_in_ivoid,
    host_of,
    outside_holding,
    pointer_of,
    with_hint,
)
from gateway.wire.kinds import (
    DATA_KINDS,
    IVOA_DATA,
    RUCIO_DATA,
    S3_DATA,
    SIMPLE_DATA,
    SKAO_DATA,
)

DID = Did("testing", "a/b.fits")


def ivoa(**block: Any) -> dict[str, Any]:
    return {"kind": IVOA_DATA, "ivoa": block}


@pytest.mark.parametrize(
    ("ivoid", "did"),
    [
        ("ivo://skao.int/data?testing:a/b.fits", DID),
        ("ivo://skao.net/data?testing:a/b.fits", DID),
        ("ivo://SKAO.int/any/path?testing:a/b.fits", DID),
        ("ivo://skao.int/data?testing%3Aa%2Fb.fits", DID),
        ("ivo://skao.int/data?testing/a/b.fits", DID),
        ("ivo://skao.int/data?testing:x:y", Did("testing", "x:y")),
        ("ivo://skao.int/data?testing:a/b.fits#part", DID),
        ("ivo://skao.int/data", None),
        ("ivo://skao.int/data?testing", None),
        ("ivo://skao.int/data?:x", None),
        ("ivo://example.org/data?testing:a", None),
        ("ivo://skao.int.example.org/data?testing:a", None),
        ("https://skao.int/data?testing:a", None),
        ("ivo://[bad/data?testing:a", None),
    ],
)
def test_ska_data_are_recognised_by_their_authority(ivoid: str, did: Did | None) -> None:
    assert did_in_ivoid(ivoid) == did
    assert pointer_of(ivoa(ivoid=ivoid)).did == did
    assert pointer_of({"kind": SIMPLE_DATA, "location": ivoid}).did == did


@pytest.mark.parametrize(
    "resource",
    [
        {"kind": SKAO_DATA, "skao": {"namespace": "testing", "objectname": "a/b.fits"}},
        {"kind": SKAO_DATA, "ivoa": {"ivoid": "ivo://skao.int/data?testing:a/b.fits"}},
        {"kind": RUCIO_DATA, "rucio": {"scope": "testing", "object": "a/b.fits"}},
        {"kind": RUCIO_DATA, "rucio": {"object": "testing:a/b.fits"}},
        {"kind": SIMPLE_DATA, "location": "rucio:testing:a/b.fits"},
        {"kind": SIMPLE_DATA, "location": "rucio://testing:a/b.fits"},
        ivoa(obscore={"obs_publisher_did": "ivo://skao.int/data?testing:a/b.fits"}),
    ],
)
def test_each_kind_of_resource_names_the_same_data(resource: dict[str, Any]) -> None:
    assert pointer_of(resource).did == DID


def test_the_rucio_that_the_client_means_goes_along() -> None:
    block = {"endpoint": "https://rucio.example.org", "scope": "s", "object": "o"}
    pointer = pointer_of({"kind": RUCIO_DATA, "rucio": block})
    assert (pointer.did, pointer.endpoint) == (Did("s", "o"), "https://rucio.example.org")


@pytest.mark.parametrize(
    ("resource", "host"),
    [
        ({"kind": SIMPLE_DATA, "location": "https://Data.Example.org:8443/x"}, "data.example.org"),
        ({"kind": SIMPLE_DATA, "location": "vos://cadc.nrc.ca~vault/x"}, "cadc.nrc.ca~vault"),
        (
            {"kind": S3_DATA, "endpoint": "https://s3.example.org", "bucket": "b", "object": "o"},
            "s3.example.org",
        ),
        (
            {
                "kind": S3_DATA,
                "template": "https://{bucket}.s3.example.org/{object}",
                "bucket": "b",
            },
            "b.s3.example.org",
        ),
        (ivoa(ivoid="ivo://x/y", datalink={"access_url": "https://a.org/1"}), "a.org"),
        (
            ivoa(
                obscore={"access_url": "https://b.org/1"}, datalink={"access_url": "https://a.org"}
            ),
            "a.org",
        ),
        (ivoa(obscore={"access_url": "https://b.org/1"}), "b.org"),
    ],
)
def test_other_data_lie_at_a_host(resource: dict[str, Any], host: str) -> None:
    pointer = pointer_of(resource)
    assert (pointer.did, pointer.host) == (None, host)


@pytest.mark.parametrize(
    ("block", "size"),
    [
        ({"datalink": {"access_url": "https://a.org", "content_length": 2048}}, 2048),
        ({"obscore": {"access_url": "https://a.org", "access_estsize": 3}}, 3000),
        (
            {
                "obscore": {"access_url": "https://a.org", "access_estsize": 3},
                "datalink": {"content_length": 2048},
            },
            2048,
        ),
    ],
)
def test_sizes_come_from_datalink_in_bytes_and_from_obscore_in_kilobytes(
    block: dict[str, Any], size: int
) -> None:
    holding = outside_holding(pointer_of(ivoa(**block)), "uk")
    assert holding.bytes == size
    assert holding.parts[0].copies == (Copy(Place(site="uk"), size, 1),)


def test_what_a_gateway_before_this_one_found_out_is_kept_as_a_hint() -> None:
    replicas = [
        {"rsename": "UK", "dataurl": "https://uk/1"},
        {"rsename": "JP", "dataurl": "https://jp/1"},
        {"rsename": "JP", "dataurl": "https://jp/2"},
        {"dataurl": "https://nowhere/1"},
        "nonsense",
    ]
    skao = {
        "namespace": "testing",
        "objectname": "a/b.fits",
        "objecttype": "FILE",
        "datasize": 1024,
        "checksum": {"type": "MD5", "value": "abc"},
        "replicas": replicas,
    }
    hint = pointer_of({"kind": SKAO_DATA, "skao": skao}).hint
    copies = (
        Copy(Place(rse="JP"), 1024, urls=("https://jp/1", "https://jp/2")),
        Copy(Place(rse="UK"), 1024, urls=("https://uk/1",)),
    )
    assert hint == Holding(
        DID,
        DidKind.FILE,
        bytes=1024,
        parts=(Part(str(DID), 1024, copies=copies),),
        checksums=(Checksum("md5", "abc"),),
        is_approximate=True,
    )


def test_a_size_that_the_lake_does_not_know_is_the_clients() -> None:
    hint = Holding(DID, bytes=10)
    copies = (Copy(Place(rse="UK")), Copy(Place(rse="JP"), files=1, is_complete=False))
    unsized = Holding(DID, parts=(Part("x", copies=copies),))
    sized = with_hint(unsized, hint)
    assert (sized.bytes, sized.parts[0].bytes, sized.is_approximate) == (10, 10, True)
    assert [copy.bytes for copy in sized.parts[0].copies] == [10, None]
    known = Holding(DID, bytes=7, parts=(Part("x", 7),))
    assert with_hint(known, hint) == known
    assert with_hint(unsized, None) == unsized


def test_nothing_of_a_url_is_shown_that_may_be_secret() -> None:
    url = "https://user:s3cr3t@data.example.org/x/y?X-Amz-Signature=s3cr3t#s3cr3t"
    pointer = pointer_of({"kind": SIMPLE_DATA, "location": url})
    assert pointer.name == "https://data.example.org/x/y"
    assert pointer.host == "data.example.org"
    assert "s3cr3t" not in repr(pointer)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)
members = st.sampled_from(
    ("skao", "rucio", "ivoa", "location", "endpoint", "template", "bucket", "object")
)
blocks = st.dictionaries(
    st.sampled_from(
        (
            "namespace",
            "objectname",
            "datasize",
            "replicas",
            "scope",
            "object",
            "ivoid",
            "obscore",
            "datalink",
            "access_url",
            "content_length",
            "checksum",
        )
    ),
    anything,
)


@given(
    st.sampled_from(sorted(DATA_KINDS)) | st.none() | st.text(),
    st.dictionaries(members, anything | blocks),
)
def test_whatever_a_client_writes_has_exactly_one_meaning(
    kind: str | None, resource: dict[str, Any]
) -> None:
    pointer = pointer_of({"kind": kind, **resource})
    said = [pointer.did is not None, pointer.host is not None, bool(pointer.why)]
    assert sum(said) == 1


@given(st.text())
def test_any_text_may_stand_where_a_url_should(text: str) -> None:
    host_of(text)
    did_in_ivoid(text)
    pointer_of({"kind": SIMPLE_DATA, "location": text})


def test_hosts_belong_to_sites_by_name_or_by_the_longest_ending() -> None:
    sites = HostSites(
        [("data.example.org", "uk"), ("*.example.org", "se"), ("*.s3.example.org", "jp")]
    )
    assert sites.site_of("data.example.org") == "uk"
    assert sites.site_of("other.example.org") == "se"
    assert sites.site_of("b.s3.example.org") == "jp"
    assert sites.site_of("example.org") is None
    assert sites.site_of("example.org.evil.net") is None
