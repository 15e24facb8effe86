"""What a node refuses of executables: one request for each rule of the contract."""

import pytest

from tests.support.node_requests import FULL, JUPYTER, MINIMAL, SINGULARITY, changed
from tests.support.refusals import Row, assert_refused, parameters, row

REFUSALS: list[Row] = [
    # Docker containers.
    row(
        "no image",
        changed(MINIMAL, executable__image=...),
        "urn:missing-value",
        "/executable/image",
    ),
    row(
        "no image location",
        changed(MINIMAL, executable__image__locations=[]),
        "urn:missing-required-value",
        "/executable/image/locations",
    ),
    row(
        "no image digest",
        changed(MINIMAL, executable__image__digest=...),
        "urn:missing-value",
        "/executable/image/digest",
    ),
    row(
        "excluded digest",
        changed(MINIMAL, executable__image__digest="sha256:bad"),
        "urn:bad-value",
        "/executable/image/digest",
        "sha256:bad",
    ),
    row(
        "excluded image location",
        changed(MINIMAL, executable__image__locations=["good", "registry.example.org/bad/image:1"]),
        "urn:bad-value",
        "/executable/image/locations/1",
        "registry.example.org/bad/image:1",
    ),
    row(
        "other architecture",
        changed(MINIMAL, executable__image__platform__architecture="arm64"),
        "urn:invalid-value",
        "/executable/image/platform/architecture",
        "arm64",
    ),
    row(
        "other operating system",
        changed(MINIMAL, executable__image__platform__os="windows"),
        "urn:invalid-value",
        "/executable/image/platform/os",
        "windows",
    ),
    row(
        "privileged",
        changed(MINIMAL, executable__privileged=True),
        "urn:not-supported",
        "/executable/privileged",
    ),
    row(
        "unknown protocol",
        changed(FULL, executable__network__ports__0__protocol="GOPHER"),
        "urn:invalid-value",
        "/executable/network/ports/0/protocol",
        "GOPHER",
    ),
    row(
        "port zero",
        changed(FULL, executable__network__ports__1__internal__port=0),
        "urn:invalid-value",
        "/executable/network/ports/1/internal/port",
        0,
    ),
    row(
        "negative port",
        changed(FULL, executable__network__ports__1__internal__port=-80),
        "urn:invalid-value",
        "/executable/network/ports/1/internal/port",
        -80,
    ),
    row(
        "port above the highest",
        changed(FULL, executable__network__ports__1__internal__port=65536),
        "urn:invalid-value",
        "/executable/network/ports/1/internal/port",
        65536,
    ),
    row(
        "port without number",
        changed(FULL, executable__network__ports=[{"protocol": "TCP"}]),
        "urn:missing-required-value",
        "/executable/network/ports/0/internal/port",
    ),
    row(
        "external port set by the client",
        changed(FULL, executable__network__ports__0__external={"port": 80}),
        "urn:not-supported",
        "/executable/network/ports/0/external",
    ),
    row(
        "excluded port path",
        changed(FULL, executable__network__ports__0__path="/admin"),
        "urn:invalid-value",
        "/executable/network/ports/0/path",
        "/admin",
    ),
    row(
        "excluded port",
        changed(FULL, executable__network__ports__0__internal__port=22),
        "urn:invalid-value",
        "/executable/network/ports/0/internal/port",
        22,
    ),
    row(
        "excluded command argument",
        changed(FULL, executable__command=["a", "--bad"]),
        "urn:bad-value",
        "/executable/command/1",
        "--bad",
    ),
    row(
        "excluded entry point",
        changed(FULL, executable__entrypoint="--bad"),
        "urn:bad-value",
        "/executable/entrypoint",
        "--bad",
    ),
    row(
        "excluded environment name",
        changed(FULL, executable__environment={"--bad": "x"}),
        "urn:bad-value",
        "/executable/environment/--bad",
        "--bad",
    ),
    row(
        "excluded environment value",
        changed(FULL, executable__environment={"a/b": "--bad"}),
        "urn:bad-value",
        "/executable/environment/a~1b",
        "--bad",
    ),
    # Other executables.
    row(
        "notebook without location",
        changed(JUPYTER, executable__location=...),
        "urn:missing-required-value",
        "/executable/location",
    ),
    row(
        "excluded notebook",
        changed(JUPYTER, executable__location="https://example.org/bad.ipynb"),
        "urn:invalid-value",
        "/executable/location",
        "https://example.org/bad.ipynb",
    ),
    row(
        "singularity without location",
        changed(SINGULARITY, executable__location=""),
        "urn:missing-required-value",
        "/executable/location",
    ),
    row(
        "excluded singularity image",
        changed(SINGULARITY, executable__location="registry.example.org/bad/image:1"),
        "urn:bad-value",
        "/executable/location",
        "registry.example.org/bad/image:1",
    ),
]


@pytest.mark.parametrize("case", parameters(REFUSALS))
def test_what_cannot_be_run_is_refused_with_a_complete_reason(case: Row) -> None:
    assert_refused(case)
