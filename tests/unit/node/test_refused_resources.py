"""What a node refuses of compute, storage, data and volumes: one request for each rule."""

import pytest

from gateway.wire import kinds
from tests.support.node_requests import BOTH, FULL, IVOA, NAMELESS_COMPUTE, RUCIO, S3, SKAO, changed
from tests.support.refusals import Row, assert_refused, parameters, row

REFUSALS: list[Row] = [
    # Compute and storage.
    row(
        "cores above the limit, without a name",
        changed(NAMELESS_COMPUTE, compute__cores__min=17),
        "urn:resource-limit",
        "/compute/cores/min",
        17,
        16,
    ),
    row(
        "memory above the limit",
        changed(FULL, compute__memory={"min": 17, "max": 20}),
        "urn:resource-limit",
        "/compute/memory/min",
        17,
        "cpu",
    ),
    row(
        "no cores",
        changed(FULL, compute__cores={"min": 0}),
        "urn:invalid-value",
        "/compute/cores/min",
        0,
    ),
    row(
        "negative memory",
        changed(FULL, compute__memory={"max": -1}),
        "urn:invalid-value",
        "/compute/memory/max",
        -1,
    ),
    row(
        "least cores above the most",
        changed(FULL, compute__cores={"min": 5, "max": 4}),
        "urn:invalid-value",
        "/compute/cores",
        5,
        4,
    ),
    row(
        "storage above the limit",
        changed(FULL, storage__0__size={"min": 1001, "max": 1001}),
        "urn:resource-limit",
        "/storage/0/size/min",
        1001,
        1000,
    ),
    row(
        "negative storage",
        changed(FULL, storage__0__size={"min": -1}),
        "urn:invalid-value",
        "/storage/0/size/min",
        -1,
    ),
    row(
        "least storage above the most",
        changed(FULL, storage__0__size={"min": 3, "max": 2}),
        "urn:invalid-value",
        "/storage/0/size",
        3,
        2,
    ),
    row(
        "storage above the limit together",
        changed(
            FULL,
            storage=[
                {"kind": kinds.SIMPLE_STORAGE, "meta": {"name": "scratch"}, "size": {"min": 600}},
                {"kind": kinds.SIMPLE_STORAGE, "size": {"min": 600}},
            ],
        ),
        "urn:resource-limit",
        "/storage",
        1200,
        1000,
    ),
    # Data.
    row(
        "two data resources of one name",
        changed(FULL, data=[*FULL["data"], FULL["data"][0]]),
        "urn:duplicate-resource",
        "/data/1",
        "obs",
        "/data/0",
    ),
    row(
        "two storage resources of one name",
        changed(FULL, storage=[*FULL["storage"], FULL["storage"][0]]),
        "urn:duplicate-resource",
        "/storage/1",
        "scratch",
        "/storage/0",
    ),
    row(
        "storage that is not there",
        changed(FULL, data__0__storage="attic"),
        "urn:resource-not-found",
        "/data/0/storage",
        "attic",
    ),
    row(
        "data without location",
        changed(FULL, data__0__location=...),
        "urn:missing-required-value",
        "/data/0/location",
    ),
    row(
        "excluded data location",
        changed(FULL, data__0__location="https://example.org/bad.fits"),
        "urn:invalid-value",
        "/data/0/location",
        "https://example.org/bad.fits",
    ),
    row(
        "S3 without endpoint",
        changed(S3, data__0__endpoint=...),
        "urn:missing-required-value",
        "/data/0/endpoint",
    ),
    row(
        "S3 without template",
        changed(S3, data__0__template=None),
        "urn:missing-required-value",
        "/data/0/template",
    ),
    row(
        "S3 without bucket",
        changed(S3, data__0__bucket=...),
        "urn:missing-required-value",
        "/data/0/bucket",
    ),
    row(
        "excluded S3 endpoint",
        changed(S3, data__0__endpoint="https://s3.bad.example.org"),
        "urn:invalid-value",
        "/data/0/endpoint",
        "https://s3.bad.example.org",
    ),
    row(
        "no ivoa block",
        changed(IVOA, data__0__ivoa=...),
        "urn:missing-required-value",
        "/data/0/ivoa",
    ),
    row(
        "no ivoid",
        changed(IVOA, data__0__ivoa__ivoid=...),
        "urn:missing-required-value",
        "/data/0/ivoa/ivoid",
    ),
    row(
        "excluded ivoid",
        changed(IVOA, data__0__ivoa__ivoid="ivo://example.org/bad"),
        "urn:invalid-value",
        "/data/0/ivoa/ivoid",
        "ivo://example.org/bad",
    ),
    row(
        "ivoid in an excluded namespace",
        changed(IVOA, data__0__ivoa__ivoid="ivo://skao.int/data?forbidden:f1"),
        "urn:invalid-value",
        "/data/0/ivoa/ivoid",
        "forbidden",
    ),
    row(
        "Rucio without block",
        changed(RUCIO, data__0__rucio=...),
        "urn:missing-required-value",
        "/data/0/rucio/scope",
    ),
    row(
        "Rucio without object",
        changed(RUCIO, data__0__rucio__object=...),
        "urn:missing-required-value",
        "/data/0/rucio/object",
    ),
    row(
        "SKAO without namespace or ivoid",
        changed(SKAO, data__0__skao__namespace=..., data__0__ivoa=...),
        "urn:missing-required-value",
        "/data/0/skao",
    ),
    row(
        "excluded SKAO namespace",
        changed(SKAO, data__0__skao__namespace="forbidden"),
        "urn:invalid-value",
        "/data/0/skao/namespace",
        "forbidden",
    ),
    row(
        "negative data size",
        changed(SKAO, data__0__skao__datasize=-1),
        "urn:invalid-value",
        "/data/0/skao/datasize",
        -1,
    ),
    row(
        "data larger than the site's storage",
        changed(SKAO, data__0__skao__datasize=2000 * 2**30),
        "urn:resource-limit",
        "/data/0/skao/datasize",
        2000,
        1000,
    ),
    # Volumes.
    row(
        "volume of nothing",
        changed(FULL, compute__volumes__1__resource=...),
        "urn:resource-not-found",
        "/compute/volumes/1/resource",
    ),
    row(
        "volume of something that is not there",
        changed(FULL, compute__volumes__0__resource="attic"),
        "urn:resource-not-found",
        "/compute/volumes/0/resource",
        "attic",
        "in",
    ),
    row(
        "volume of data or storage",
        BOTH,
        "urn:duplicate-resource",
        "/compute/volumes/0/resource",
        "obs",
    ),
    row(
        "volume outside the home",
        changed(FULL, compute__volumes__0__path="in/../../input"),
        "urn:invalid-value",
        "/compute/volumes/0/path",
        "in/../../input",
    ),
    row(
        "volume in place of the root",
        changed(FULL, compute__volumes__0__path="//."),
        "urn:invalid-value",
        "/compute/volumes/0/path",
        "//.",
    ),
    row(
        "two volumes at one path written differently",
        changed(FULL, compute__volumes__1__path="/input/./"),
        "urn:invalid-value",
        "/compute/volumes/1/path",
        "/input/./",
    ),
    row(
        "two volumes at one path",
        changed(FULL, compute__volumes__1__path="/input"),
        "urn:invalid-value",
        "/compute/volumes/1/path",
        "/input",
    ),
]


@pytest.mark.parametrize("case", parameters(REFUSALS))
def test_what_cannot_be_had_is_refused_with_a_complete_reason(case: Row) -> None:
    assert_refused(case)
