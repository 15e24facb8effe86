"""A node whose platform cannot run anything offers nothing, says why, and shows it."""

from pathlib import Path

from node_stub.platforms.docker.settings import DockerSettings
from tests.support.node import node_settings, running_node
from tests.support.node_requests import MINIMAL


async def test_a_node_whose_container_engine_is_away_says_no_and_why(tmp_path: Path) -> None:
    socket = f"unix://{tmp_path}/nobody.sock"
    settings = node_settings(platform=DockerSettings(socket=socket))
    async with running_node(tmp_path / "node", settings) as node:
        answer = await node.ask(MINIMAL)
        metrics = await node.text("/metrics")

    assert answer.document["result"] == "NO"
    assert [said["kind"] for said in answer.messages] == ["urn:platform-unavailable"]
    assert answer.messages[0]["values"]["detail"]
    assert 'execbroker_node_platform_up{platform="docker"} 0.0' in metrics


async def test_a_node_whose_platform_is_there_shows_it(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        assert 'execbroker_node_platform_up{platform="simulated"} 1.0' in await node.text(
            "/metrics"
        )
