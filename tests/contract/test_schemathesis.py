"""Both services, running, against their own OpenAPI documents: schemathesis with all its checks.

``SCHEMATHESIS_EXAMPLES`` is the number of generated requests for each operation.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig

from tests.support.gateway import GatewayProcess
from tests.support.node import ADMIN, node_process, process_config

EXAMPLES: Final = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "15"))

pytestmark = pytest.mark.timeout(300 + 20 * EXAMPLES)


@dataclass(frozen=True, slots=True)
class Services:
    node: str
    gateway: str


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A gateway over one node, each in a process of its own, for tests that have no event loop."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def start() -> Services:
            node = await stack.enter_async_context(
                node_process(tmp_path_factory.mktemp("node"), process_config())
            )
            gateway = GatewayProcess({"alpha": node.url}, tmp_path_factory.mktemp("gateway"))
            await gateway.start()
            stack.push_async_callback(gateway.stop)
            return Services(node.url, gateway.url)

        try:
            yield runner.run(start())
        finally:
            runner.run(stack.aclose())


def loaded(url: str) -> Any:
    config = SchemathesisConfig.from_dict(
        {"generation": {"max-examples": EXAMPLES, "deterministic": True}}
    )
    return schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)


@pytest.fixture(scope="module")
def node_document(services: Services) -> Any:
    return loaded(services.node)


@pytest.fixture(scope="module")
def gateway_document(services: Services) -> Any:
    return loaded(services.gateway)


def check(case: Any) -> None:
    case.call_and_validate(auth=(ADMIN.login, ADMIN.password), allow_redirects=False)


@schemathesis.pytest.from_fixture("node_document").parametrize()
def test_a_node_keeps_to_its_document(case: Any) -> None:
    check(case)


@schemathesis.pytest.from_fixture("gateway_document").parametrize()
def test_a_gateway_keeps_to_its_document(case: Any) -> None:
    check(case)
