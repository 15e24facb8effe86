"""Two gateways over five nodes in three levels, of which one node and one gateway joined."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateway.httpkit.membership.settings import BasicOffered, JoinSettings
from gateway.wire.documents import Document
from gateway.wire.secret import Secret
from tests.support.gateway import FEDERATION, GatewayUnderTest, running_gateway
from tests.support.members import LOCAL, mint
from tests.support.node import ADMIN, NodeClient, node_settings, running_node
from tests.support.outputs import WritingPlatform, following
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

KEY: Final = Secret("0123456789abcdef" * 4)
HEAD: Final = BasicOffered(username=ADMIN.login, password=Secret(ADMIN.password))


@dataclass(slots=True)
class Levels:
    """The gateway at the top, the one below, and the nodes of both by name."""

    top: GatewayUnderTest
    base: GatewayUnderTest
    nodes: dict[str, NodeClient]
    platform: WritingPlatform

    async def offers(self) -> dict[str, Document]:
        """The best offer of each node, by its name."""
        answer = await self.top.ask(minimal_request(), "?limit=50&per_node=20")
        assert answer.status == 303, answer.text
        found: dict[str, Document] = {}
        for offer in answer.document["offers"]:
            found.setdefault(offer["federation"]["path"][-1], offer)
        return found

    async def shows(self, uuid: str, phase: str) -> bool:
        return bool((await self.top.read(uuid))["phase"] == phase)


@asynccontextmanager
async def levels(folder: Path) -> AsyncIterator[Levels]:
    """``alpha`` and ``beta`` at the top; ``gamma``, ``delta`` and ``epsilon``, who joins, below."""
    nodes: dict[str, NodeClient] = {}
    platform = WritingPlatform(folder)
    async with AsyncExitStack() as stack:
        for name in ("alpha", "beta", "gamma", "delta"):
            (folder / name).mkdir()
            node = running_node(folder / name, node_settings(name=name))
            nodes[name] = await stack.enter_async_context(node)

        async def gateway(name: str, *names: str, **more: Any) -> GatewayUnderTest:
            return await stack.enter_async_context(
                running_gateway(
                    {one: nodes[one].url for one in names},
                    folder / name,
                    federation=replace(FEDERATION, name=name, per_node=20),
                    registration=LOCAL,
                    secret_key=KEY,
                    **more,
                )
            )

        top = await gateway("top", "alpha", "beta")
        token = Secret(await mint(top, name="base"))
        upward = JoinSettings(gateway=top.url, token=token, name="base", credentials=HEAD)
        base = await gateway("base", "gamma", "delta", join=(upward,))
        token = Secret(await mint(base, name="epsilon"))
        joined = JoinSettings(gateway=base.url, token=token, credentials=HEAD)
        (folder / "epsilon").mkdir()
        node = running_node(
            folder / "epsilon", node_settings(name="epsilon", join=(joined,)), platform=platform
        )
        nodes["epsilon"] = await stack.enter_async_context(node)
        for node_client in nodes.values():
            node_client.auth = ADMIN
        for at, name in ((top, "base"), (base, "epsilon")):
            await eventually(partial(_is_up, at, name), 20)
        yield Levels(top, base, nodes, platform)


async def _is_up(gateway: GatewayUnderTest, name: str) -> bool:
    answer = await gateway.call("GET", "/nodes")
    return any(n["name"] == name and n["state"] == "up" for n in answer.document["nodes"])


async def test_a_request_at_the_top_is_answered_accepted_run_streamed_and_cancelled(
    tmp_path: Path,
) -> None:
    async with levels(tmp_path) as it:
        offers = await it.offers()
        assert set(offers) == set(it.nodes)
        assert offers["alpha"]["federation"]["path"] == ["alpha"]
        assert offers["epsilon"]["federation"]["path"] == ["base", "epsilon"]

        plain = offers["gamma"]["meta"]["uuid"]
        await it.top.move(plain, "ACCEPTED")
        await eventually(partial(it.shows, plain, "COMPLETED"), 15)
        assert (await it.nodes["gamma"].session(plain))["phase"] == "COMPLETED"

        uuid = (await it.offers())["epsilon"]["meta"]["uuid"]
        await it.top.move(uuid, "ACCEPTED")
        await eventually(partial(it.shows, uuid, "RUNNING"), 15)
        it.platform.written += b"from the third level\n"
        async with (
            asyncio.timeout(20),
            following(it.top.session, f"{it.top.url}/streams/{uuid}/stdout") as log,
        ):
            assert await log.piece() == b"from the third level\n"
        cancelled = await it.top.move(uuid, "CANCELLED")
        assert cancelled.document["phase"] == "CANCELLED", cancelled.text

        async def is_over() -> bool:
            return bool((await it.nodes["epsilon"].session(uuid))["phase"] == "CANCELLED")

        await eventually(is_over, 15)
        assert (await it.base.read(uuid))["phase"] == "CANCELLED"
