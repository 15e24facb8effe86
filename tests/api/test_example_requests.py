"""The example requests of ``config/``, asked of a real gateway over real nodes."""

from pathlib import Path
from typing import Final

import pytest

from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.requests import load_request
from gateway.wire.schemas.request import ExecutionRequestSchema
from tests.support.brokers import gateway

CONFIG: Final = Path(__file__).parents[2] / "config"
EXAMPLES: Final = sorted(CONFIG.glob("request-*.yaml"))


def test_there_are_examples() -> None:
    assert [path.name for path in EXAMPLES] == [
        "request-demo.yaml",
        "request-full.yaml",
        "request-minimal.yaml",
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
