"""``execbroker discover``, ``estimate`` and ``publish``, against a real gateway."""

import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from gateway.cli.arguments import parser
from gateway.cli.output import OK, REFUSED, UNAVAILABLE
from gateway.cli.running import run
from gateway.domain.permissions import Permissions, Rule
from gateway.wire.codecs.registry import YAML
from gateway.wire.kinds import KIND_BASE
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.lake_files import AT_SITES, GB, SITES, file_entry, lake_at, skao
from tests.support.node import ALICE, BOB, Account
from tests.support.requests import minimal_request

Execbroker = Callable[..., Awaitable[tuple[int, str, str]]]
OPEN_DATA = {"kind": f"{KIND_BASE}/data/abstract-data-resource.yaml", "meta": {"name": "input"}}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayUnderTest]:
    """Two nodes that are never heard from; 500 GB lie near the first."""
    nodes = dict.fromkeys(("alpha", "beta"), "http://127.0.0.1:9")
    async with running_gateway(
        nodes,
        tmp_path / "gateway",
        node_options={name: AT_SITES[name] for name in nodes},
        data_lake=lake_at(tmp_path, file_entry(500 * GB, "UK_RSE")),
        sites=SITES,
    ) as running:
        yield running


@pytest.fixture
def execbroker(gateway: GatewayUnderTest) -> Execbroker:
    """Exit code, standard output, standard error."""

    async def execute(*argv: str, who: Account = ALICE) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        environ = {"EXECBROKER_USERNAME": who.login, "EXECBROKER_PASSWORD": who.password}
        arguments = parser().parse_args([*argv, "--url", gateway.url])
        code = await run(arguments, out, err, environ)
        return code, out.getvalue(), err.getvalue()

    return execute


@pytest.fixture
def template_file(tmp_path: Path) -> str:
    path = tmp_path / "ivoa-execution.yaml"
    document = minimal_request(data=[OPEN_DATA], discovery={"title": "Cubes", "keywords": ["HI"]})
    path.write_bytes(YAML.encode(document, "x"))
    return str(path)


async def test_kinds_and_nodes_are_listed(execbroker: Execbroker) -> None:
    code, out, err = await execbroker("discover", "kinds")
    assert (code, err) == (OK, "")
    assert "Kinds, at 2 nodes" in out
    assert "docker-container" in out
    code, out, _ = await execbroker("discover", "nodes")
    assert code == OK
    for text in ("alpha", "uk", "unknown"):
        assert text in out
    _, out, _ = await execbroker("discover", "nodes", "--json")
    assert [node["name"] for node in json.loads(out)["nodes"]] == ["alpha", "beta"]


async def test_data_are_found_or_said_not_to_be(execbroker: Execbroker) -> None:
    code, out, _ = await execbroker("discover", "data", "test:f1")
    assert code == OK
    assert "500.0 GB" in out
    assert out.index("alpha") < out.index("beta"), "it is there already"
    code, out, _ = await execbroker("discover", "data", "test:f1", "ivo://skao.int/data?test:no")
    assert code == REFUSED
    assert "test:no" in out
    code, _, err = await execbroker("discover", "data", "nonsense")
    assert code == REFUSED
    assert "/rucio_did/0" in err


async def test_a_template_is_published_and_found(
    execbroker: Execbroker, template_file: str
) -> None:
    code, out, _ = await execbroker("publish", template_file)
    assert code == OK
    assert "Cubes" in out
    assert "data[0] input" in out
    code, out, _ = await execbroker("discover", "software", "cub", "--keyword", "hi", "--mine")
    assert code == OK
    assert "Cubes" in out
    _, out, _ = await execbroker("discover", "software", "--mine", "--json", who=BOB)
    assert json.loads(out)["software"] == []
    code, _, err = await execbroker("publish", "https://example.org/x.yaml")
    assert code == REFUSED
    assert "discovery.import_hosts" in err


async def test_an_estimate_shows_who_would_be_asked_and_what_is_open(
    execbroker: Execbroker, template_file: str, tmp_path: Path
) -> None:
    code, out, err = await execbroker("estimate", template_file, "--nodes", "beta")
    assert code == OK
    assert "data[0] is still open: input" in err
    assert out.index("Would be asked") < out.index("beta") < out.index("Would not be asked")
    request = tmp_path / "request.yaml"
    request.write_bytes(YAML.encode(minimal_request(data=[skao("f1")]), "x"))
    code, out, _ = await execbroker("estimate", str(request), "--json")
    assert code == OK
    alpha, beta = json.loads(out)["asked"]
    assert alpha["placement"]["bytes_to_move"] == 0
    assert beta["placement"]["bytes_to_move"] == 500 * GB


async def test_a_request_that_would_be_refused_is_estimated_as_that(
    tmp_path: Path, template_file: str
) -> None:
    nobody = Permissions(everyone=Rule(may_submit=False))
    out, err = io.StringIO(), io.StringIO()
    environ = {"EXECBROKER_USERNAME": BOB.login, "EXECBROKER_PASSWORD": BOB.password}
    async with running_gateway({}, tmp_path / "other", permissions=nobody) as strict:
        arguments = parser().parse_args(["estimate", template_file, "--url", strict.url])
        code = await run(arguments, out, err, environ)
    assert code == REFUSED
    assert "would be refused" in err.getvalue()


async def test_a_gateway_that_is_away_is_told_as_such(template_file: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    arguments = parser().parse_args(["estimate", template_file, "--url", "http://127.0.0.1:9"])
    assert await run(arguments, out, err, {}) == UNAVAILABLE
