"""A namespace that is denied is denied however it is written."""

import pytest

from node_stub.checks.data import namespace_of


@pytest.mark.parametrize(
    "ivoid",
    [
        "ivo://skao.int/data?secret:cube.fits",
        "ivo://SKAO.INT/data?secret:cube.fits",
        "ivo://skao.net?secret:cube.fits",
        "ivo://skao.int/data?%73ecret:cube.fits",
        "ivo://skao.int/data?secret%3Acube.fits",
        "ivo://skao.int/data?secret/cube.fits",
    ],
)
def test_a_namespace_is_seen_however_it_is_written(ivoid: str) -> None:
    assert namespace_of(ivoid) == "secret"


@pytest.mark.parametrize(
    "ivoid", ["ivo://example.org/data?secret:x", "ivo://skao.int/data", "ivo://skao.int/d?secret"]
)
def test_what_names_no_namespace_has_none(ivoid: str) -> None:
    assert namespace_of(ivoid) is None
