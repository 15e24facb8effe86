"""A service in a container, asked for at the gateway and reached from outside."""

from pathlib import Path
from typing import Final

import aiohttp

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.platforms.docker.settings import DockerSettings
from tests.platforms.docker.conftest import image_on
from tests.support.engines import Engine
from tests.support.gateway import running_gateway
from tests.support.images import BUSYBOX
from tests.support.node import node_settings, running_node
from tests.support.waiting import eventually

STEP_S: Final = 60.0
"""Longest wait for one step, on a machine with other work to do."""


def request_for(image: str) -> Document:
    ports = [{"access": True, "protocol": "HTTP", "path": "/out.txt", "internal": {"port": 8080}}]
    return {
        "executable": {
            "kind": kinds.DOCKER_CONTAINER,
            "image": {"locations": [BUSYBOX], "digest": image},
            "entrypoint": "/bin/sh",
            "command": ["-c", "echo found > out.txt; exec httpd -f -p 8080 -h /session"],
            "network": {"ports": ports},
        }
    }


async def test_a_container_is_reached_through_its_connector_as_long_as_it_runs(
    engine: Engine, tmp_path: Path
) -> None:
    request = request_for(image_on(engine))
    settings = node_settings(platform=DockerSettings(socket=engine.url))
    async with (
        running_node(tmp_path / "node", settings) as node,
        running_gateway({"alpha": node.url}, tmp_path / "gateway") as gateway,
        aiohttp.ClientSession() as anybody,
    ):
        answer = await gateway.call("POST", "/direct", request, Prefer="wait=20")
        assert answer.status == 303, answer.text
        uuid = answer.document["meta"]["uuid"]
        assert answer.document["connectors"][0]["status"] == "PREPARING"
        session: Document = {}

        async def is_reachable() -> bool:
            nonlocal session
            session = await gateway.read(uuid)
            status: str = session["connectors"][0]["status"]
            return status == "AVAILABLE"

        await eventually(is_reachable, STEP_S)
        location = session["connectors"][0]["location"]
        async with anybody.get(location) as response:
            assert await response.text() == "found\n"
        await gateway.move(uuid, "CANCELLED")

        async def is_finished() -> bool:
            nonlocal session
            session = await gateway.read(uuid)
            results = await gateway.call("GET", f"/sessions/{uuid}/results")
            is_kept = results.status == 200 and results.document["is_complete"] is True
            return is_kept and not engine.containers()

        await eventually(is_finished, STEP_S)

    connector = session["connectors"][0]
    assert session["phase"] == "CANCELLED"
    assert connector["status"] == "FINISHED"
    assert "location" not in connector
