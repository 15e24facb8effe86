"""Every file in ``config/`` works, and a wrong one is refused with all that is wrong in it."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from marshmallow.fields import Nested

from gateway.config import GatewaySettings, load_gateway_settings
from gateway.domain.policies import policies_from_settings
from gateway.httpkit.settings import SettingsError, SettingsSchema
from gateway.sections.lake_catalogue import load_catalogue
from gateway.wire.codecs.registry import YAML
from gateway.wire.documents import Document
from gateway.wire.faults import validate
from gateway.wire.schemas.request import ExecutionRequestSchema
from gateway.wire.views import view_of_request
from node_stub.config import NodeSchema, NodeSettings, PlatformSchema, load_node_settings
from tests.support.node import running_node

CONFIG: Final = Path(__file__).resolve().parents[2] / "config"
GATEWAYS: Final = sorted(CONFIG.glob("gateway*.yaml"))
NODES: Final = sorted(CONFIG.glob("node-*.yaml"))
REQUESTS: Final = sorted(CONFIG.glob("request-*.yaml"))
LAKES: Final = sorted(CONFIG.glob("lake*.yaml"))
NOTEBOOKS: Final = sorted((CONFIG / "demo").glob("*.ipynb"))


def name_of(path: Path) -> str:
    return path.stem


@pytest.fixture(autouse=True)
def passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable that an example takes a secret from."""
    for path in (*GATEWAYS, *NODES):
        for variable in variables_in(yaml.safe_load(path.read_text())):
            monkeypatch.setenv(variable, f"secret of {variable}")


def variables_in(tree: Any) -> list[str]:
    if isinstance(tree, list):
        return [name for item in tree for name in variables_in(item)]
    if not isinstance(tree, dict):
        return []
    own = [value for key, value in tree.items() if str(key).endswith("_env")]
    return own + [name for value in tree.values() for name in variables_in(value)]


def test_every_example_is_of_a_sort_that_is_tested() -> None:
    files = {path for path in CONFIG.rglob("*") if path.is_file()}
    assert files == {*GATEWAYS, *NODES, *REQUESTS, *LAKES, *NOTEBOOKS}
    assert GATEWAYS
    assert LAKES
    assert NOTEBOOKS
    assert len(NODES) >= 3
    assert len(REQUESTS) >= 2


@pytest.mark.parametrize("path", GATEWAYS, ids=name_of)
def test_an_example_of_a_gateway_loads(path: Path) -> None:
    settings = load_gateway_settings(path)
    assert settings.nodes
    assert settings.admin is not None
    assert settings.federation.policy in policies_from_settings(settings.policies)
    assert all(node.to_profile().url.startswith("http") for node in settings.nodes)


@pytest.mark.parametrize("path", LAKES, ids=name_of)
def test_an_example_of_a_static_lake_loads_and_its_storage_is_at_the_sites(path: Path) -> None:
    settings = load_gateway_settings(CONFIG / "gateway-data-lake.yaml")
    known = {rse for site in settings.sites.values() for rse in (*site.rses, *site.tapes)}
    entries = load_catalogue(path).data
    assert entries
    assert {copy.rse for entry in entries for copy in entry.copies} <= known
    assert {node.site for node in settings.nodes} <= set(settings.sites)


@pytest.mark.parametrize("path", NODES, ids=name_of)
def test_an_example_of_a_node_loads(path: Path) -> None:
    settings = load_node_settings(path)
    assert settings.admin is not None
    assert settings.capacity.cores > 0


@pytest.mark.parametrize("platform", ["simulated", "local", "docker"])
def test_the_example_of_every_setting_has_all_of_every_platform(
    platform: str, tmp_path: Path
) -> None:
    example = (CONFIG / "node-example.yaml").read_text()
    blocks = {block["platform"]["type"]: block for block in commented(example)}
    settings = yaml.safe_load(example)
    blocks["simulated"] = {"platform": settings["platform"]}
    file = tmp_path / "node.yaml"
    file.write_text(yaml.safe_dump(settings | blocks[platform]))
    load_node_settings(file)
    schema = PlatformSchema.type_schemas[platform]
    assert isinstance(schema, SettingsSchema)
    given = set(blocks[platform]["platform"]) - {"type"}
    assert given == set(schema.fields)


@pytest.mark.parametrize("section", ["offers", "workspace", "staging", "retention", "reconciler"])
def test_the_example_of_every_setting_has_all_of_every_section(section: str) -> None:
    schema = NodeSchema().fields[section]
    assert isinstance(schema, Nested)
    given = yaml.safe_load((CONFIG / "node-example.yaml").read_text())[section]
    assert set(given) == set(schema.schema.fields)


def commented(text: str) -> list[Document]:
    """The settings that are commented out, without a blank after the sign of the comment."""
    blocks = re.findall(r"(?:^#\S.*\n|^#  .*\n)+", text, re.MULTILINE)
    return [yaml.safe_load(re.sub(r"^#", "", block, flags=re.MULTILINE)) for block in blocks]


def test_the_gateway_of_the_examples_knows_the_nodes_of_the_examples() -> None:
    nodes = [load_node_settings(path) for path in NODES]
    places = {node.name: f"http://{node.listen}" for node in nodes}
    for path in GATEWAYS:
        for known in load_gateway_settings(path).nodes:
            assert known.name in places, known


def read(path: Path) -> Document:
    document: Document = YAML.decode(path.read_bytes())
    return document


@pytest.mark.parametrize("path", REQUESTS, ids=name_of)
async def test_an_example_of_a_request_is_valid_and_a_node_offers_it(
    path: Path, tmp_path: Path
) -> None:
    request = read(path)
    assert validate(ExecutionRequestSchema(), request) == []
    assert view_of_request(request).executable_kind
    async with running_node(tmp_path) as node:
        answer = await node.ask(request)
    assert answer.document["result"] == "YES", answer.messages


def refused(path: Path, load: Any) -> list[str]:
    """The faults that a file is refused with."""
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    faults = list(caught.value.faults)
    assert all(fault in str(caught.value) for fault in faults)
    return faults


def test_every_fault_of_a_gateways_file_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        """
listen: nowhere
colour: blue
log_level: loud
database: postgres
admin: {username: admin, password: in-the-open, password_env: NOT_SET_ANYWHERE}
nodes:
  - {name: alpha, url: "http://127.0.0.1:8091"}
  - {name: "al pha", url: "ftp://example.org", height: 3}
  - {url: "http://127.0.0.1:8092", credentials: {type: kerberos}}
  - {name: beta, url: "http://127.0.0.1:1", credentials: {type: basic, username: head}}
federation: {deadline_s: 0, limit: many, per_nodes: 2}
commands: {lease_s: 1}
"""
    )
    faults = refused(file, load_gateway_settings)
    for place in (
        "listen", "colour", "log_level", "nodes[1].name", "nodes[1].url", "nodes[1].height",
        "nodes[2].name", "nodes[2].credentials.type", "nodes[3].credentials.password",
        "federation.deadline_s", "federation.limit", "federation.per_nodes", "admin.password",
    ):  # fmt: skip
        assert [fault for fault in faults if fault.startswith(place)], (place, faults)
    assert "in-the-open" not in "".join(faults)


def test_every_fault_of_a_nodes_file_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text(
        """
name: alpha
colour: blue
capacity: {cores: 0, memory_gib: 1.5}
offers: {count: 0, counts: 1, fit: loosely}
costs: {session: [{min: 1}]}
deny: {ports: ["22"], persons: []}
platform: {type: abacus}
retention: {offers_s: -1}
"""
    )
    faults = refused(file, load_node_settings)
    for place in (
        "colour", "capacity.cores", "capacity.memory_gib", "capacity.storage_gib", "offers.count",
        "offers.counts", "offers.fit", "costs.session[0].type", "deny.ports[0]", "deny.persons",
        "platform.type", "retention.offers_s",
    ):  # fmt: skip
        assert [fault for fault in faults if fault.startswith(place)], (place, faults)


@pytest.mark.parametrize(
    "text", ["[]", "text", "a: [", "nodes: [1", "a: 1\na: 2", "\x00"], ids=repr
)
def test_a_file_that_holds_no_settings_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    assert refused(file, load_gateway_settings)
    assert refused(file, load_node_settings)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.yaml", load_gateway_settings)


@pytest.mark.parametrize("path", [*GATEWAYS, *NODES], ids=name_of)
def test_no_secret_shows_in_the_text_of_settings(path: Path) -> None:
    is_gateway = path in GATEWAYS
    settings: GatewaySettings | NodeSettings
    settings = load_gateway_settings(path) if is_gateway else load_node_settings(path)
    assert "secret of" not in repr(settings)
