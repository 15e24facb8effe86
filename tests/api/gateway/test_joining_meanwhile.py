"""A node that joins while a request is under way has no part in its answer, and does no harm."""

import asyncio
from pathlib import Path

from tests.support.faulty_nodes import healthy, running
from tests.support.gateway import running_gateway
from tests.support.members import LOCAL, join, running_member
from tests.support.proxy import Moment, Proxy
from tests.support.requests import minimal_request


async def test_a_node_that_joins_meanwhile_is_asked_from_the_next_request_on(
    tmp_path: Path,
) -> None:
    async with running(healthy()) as node, running_member() as member:
        proxy = Proxy(node.url)
        await proxy.open()
        try:
            async with running_gateway(
                {"alpha": proxy.url}, tmp_path, registration=LOCAL
            ) as gateway:
                gate = proxy.stop_at(Moment.ASKED, lambda request: request.method == "POST")
                asking = asyncio.create_task(gateway.ask(minimal_request()))
                await asyncio.wait_for(gate.reached.wait(), 10)
                await join(gateway, member, "beta")
                gate.open()
                answer = await asyncio.wait_for(asking, 20)
                assert answer.status == 303, answer.text
                coverage = answer.document["federation"]["coverage"]
                assert [entry["node"] for entry in coverage] == ["alpha"]
                later = await gateway.ask(minimal_request())
                coverage = later.document["federation"]["coverage"]
                assert [entry["node"] for entry in coverage] == ["alpha", "beta"]
        finally:
            await proxy.close()
