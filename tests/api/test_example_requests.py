"""The example requests of ``config/``, asked of a real gateway, and of a node that runs them."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.demo.archive import ArchiveFile, archive
from gateway.cli.demo.asking import REQUEST, demo_request
from gateway.cli.requests import load_request
from gateway.httpkit.server_settings import AdminSettings
from gateway.wire.documents import Document
from gateway.wire.schemas.request import ExecutionRequestSchema
from gateway.wire.secret import Secret
from node_stub.config import NodeSettings, load_node_settings
from node_stub.platforms.local.settings import LocalSettings
from tests.support.brokers import gateway
from tests.support.node import ADMIN, ALICE, running_node

CONFIG: Final = Path(__file__).parents[2] / "config"
EXAMPLES: Final = sorted(CONFIG.glob("request-*.yaml"))
REAL: Final = ("request-container.yaml", "request-notebook.yaml")
"""What the examples of nodes that really run something are asked with."""


def test_there_are_examples() -> None:
    assert [path.name for path in EXAMPLES] == [
        "request-container.yaml",
        "request-demo.yaml",
        "request-full.yaml",
        "request-minimal.yaml",
        "request-notebook.yaml",
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
async def test_every_example_request_is_valid_and_gets_offers(path: Path) -> None:
    document = load_request(str(path))
    assert ExecutionRequestSchema().validate(document) == {}
    async with (
        gateway() as broker,
        ExecutionBrokerClient(broker.url, broker.username, broker.password) as client,
    ):
        offerset = await client.request_offers(document)
    assert offerset["result"] == "YES", offerset


def test_the_demo_asks_its_own_archive_for_what_the_example_says() -> None:
    request, example = demo_request("http://127.0.0.1:1"), load_request(str(REQUEST))
    (data,) = request["data"]
    assert data["skao"] == {"namespace": "demo", "objectname": "galaxy.fits"}
    assert request["executable"]["location"] == "http://127.0.0.1:1/cube.ipynb"
    assert request["compute"] == example["compute"]


@pytest.fixture
def local_settings(monkeypatch: pytest.MonkeyPatch) -> NodeSettings:
    """The example of a local node, as its administrator of these tests has it."""
    monkeypatch.setenv("ADMIN_PASSWORD", ADMIN.password)
    settings = load_node_settings(CONFIG / "node-local.yaml")
    admin = AdminSettings(username=ADMIN.login, password=Secret(ADMIN.password))
    return replace(settings, admin=admin)


@pytest.mark.parametrize("name", REAL)
async def test_the_example_of_a_local_node_offers_the_examples(
    name: str, local_settings: NodeSettings, tmp_path: Path
) -> None:
    assert isinstance(local_settings.platform, LocalSettings)
    async with running_node(tmp_path, local_settings) as node:
        answer = await node.ask(load_request(str(CONFIG / name)))
    assert answer.document["result"] == "YES", answer.messages


async def test_the_example_of_a_container_runs_as_a_program_of_the_site(
    local_settings: NodeSettings, tmp_path: Path
) -> None:
    file = ArchiveFile("obs-0001.fits", b"an observation", "application/fits")
    async with archive([file]) as store:
        settings = replace(
            local_settings,
            staging=replace(
                local_settings.staging,
                schemes=("http",),
                hosts=("127.0.0.1",),
                private_addresses=True,
            ),
        )
        async with (
            running_node(tmp_path, settings) as node,
            ExecutionBrokerClient(node.url, ALICE.login, ALICE.password) as client,
        ):
            session = await client.direct(at_archive(store.location(file), file.size))
            uuid = session["meta"]["uuid"]
            await node.reaches(uuid, "COMPLETED", within_s=60)
            log = b"".join([piece async for piece in client.logs(uuid)])
    assert log.decode() == f"{file.sha256}  /input/obs-0001.fits\n"


def at_archive(location: str, size: int) -> Document:
    """The example of a container, with data at an archive that exists."""
    request = deepcopy(load_request(str(CONFIG / "request-container.yaml")))
    (data,) = request["data"]
    data |= {"location": location, "size": size}
    return request
