"""Real nodes that join a real gateway: leases that end, loss, drains, restarts and crashes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from gateway.domain.registration import MemberCause
from gateway.httpkit.membership.settings import BasicOffered, JoinSettings
from gateway.settings import RegistrationSettings
from gateway.wire.documents import Document
from gateway.wire.phases import SessionPhase, is_terminal
from gateway.wire.secret import Secret
from node_stub.platforms.simulated import SimulatedSettings
from tests.support.gateway import Answer, GatewayUnderTest, running_gateway
from tests.support.members import mint
from tests.support.node import (
    ADMIN,
    NodeClient,
    node_process,
    node_settings,
    process_config,
    running_node,
)
from tests.support.proxy import Proxy, Weather, running_proxy
from tests.support.requests import minimal_request
from tests.support.waiting import eventually, until

KEY: Final = Secret("0123456789abcdef" * 4)

SHORT: Final = RegistrationSettings(
    lease_s=2.0, renew_s=0.4, restart_grace_s=0.0, allow_private_addresses=True
)
"""A lease of five renewals: one that comes a second late on a busy machine ends nothing."""

SEEN_WITHIN_S: Final = 1.0
"""How much later a lease's end shows at most: the gateway looks at a sixth of the lease."""

HEAD: Final = BasicOffered(username=ADMIN.login, password=Secret(ADMIN.password))


@dataclass(slots=True)
class Federation:
    """A gateway, a node that joins it, and the network in between, on the node's way alone."""

    gateway: GatewayUnderTest
    node: NodeClient
    network: Proxy

    async def state(self) -> str:
        answer = await self.gateway.call("GET", "/nodes/alpha")
        state: str = answer.document["state"] if answer.status == 200 else "absent"
        return state

    async def is_in_state(self, *states: str, within_s: float = 5.0) -> None:
        async def look() -> bool:
            return await self.state() in states

        await eventually(look, within_s)

    async def causes(self) -> list[str]:
        """What has become of the node's place, the first first; not of its health."""
        answer = await self.gateway.call("GET", "/nodes/alpha")
        places = {cause.value for cause in MemberCause}
        changes = reversed(answer.document["changes"])
        return [change["cause"] for change in changes if change["cause"] in places]


@asynccontextmanager
async def joined(
    tmp_path: Path, registration: RegistrationSettings = SHORT, **node: Any
) -> AsyncIterator[Federation]:
    """A node that has registered itself."""
    async with (
        running_gateway(
            {}, tmp_path / "gateway", registration=registration, secret_key=KEY
        ) as gateway,
        running_proxy(gateway.url) as network,
    ):
        settings = await joining(gateway, network.url, **node)
        async with running_node(tmp_path / "node", settings) as running:
            federation = Federation(gateway, running, network)
            await federation.is_in_state("up")
            yield federation


async def joining(gateway: GatewayUnderTest, url: str, **node: Any) -> Any:
    """The settings of a node that joins by this URL, with a token of its own."""
    token = Secret(await mint(gateway, name="alpha"))
    return node_settings(join=(JoinSettings(gateway=url, token=token, credentials=HEAD),), **node)


def why_skipped(answer: Answer) -> str:
    """Why the only node was not asked."""
    assert answer.status == 503, answer.text
    (covered,) = answer.document["coverage"]
    assert covered["outcome"] == "skipped"
    code: str = covered["reason"]["code"]
    return code


def is_renewal(request: web.Request) -> bool:
    return request.path.endswith("/lease")


async def test_a_node_that_registered_itself_is_asked_and_runs_what_is_accepted(
    tmp_path: Path,
) -> None:
    async with joined(tmp_path) as here:
        answer = await here.gateway.ask(minimal_request())
        assert answer.document["result"] == "YES", answer.text
        session = answer.document["offers"][0]["meta"]["uuid"]
        await here.gateway.move(session, "ACCEPTED")
        await here.node.reaches(session, "COMPLETED")


async def test_a_node_that_stops_renewing_is_down_within_its_lease_and_back_within_one_renewal(
    tmp_path: Path,
) -> None:
    loop = asyncio.get_running_loop()
    async with joined(tmp_path) as here:
        here.network.weather = Weather.REQUEST_LOST
        began = loop.time()
        await here.is_in_state("down", within_s=SHORT.lease_s + SEEN_WITHIN_S + 2.0)
        down_s = loop.time() - began
        answer = await here.gateway.ask(minimal_request())
        here.network.weather = Weather.FINE
        began = loop.time()
        await here.is_in_state("up")
        back_s = loop.time() - began

        assert down_s < SHORT.lease_s + SEEN_WITHIN_S
        assert back_s < SHORT.renew_s + SEEN_WITHIN_S
        assert why_skipped(answer) == "lease_expired"
        assert await here.causes() == ["registered", "lease_expired", "renewed"]
        assert (await here.gateway.ask(minimal_request())).document["result"] == "YES"


async def test_nothing_flaps_under_a_loss_of_every_fifth_renewal(tmp_path: Path) -> None:
    renewals = 0

    def every_fifth(request: web.Request) -> bool:
        nonlocal renewals
        if not is_renewal(request):
            return False
        renewals += 1
        return renewals % 5 == 0

    quick = replace(SHORT, renew_s=0.1, lease_s=1.0)
    async with joined(tmp_path, quick) as here:
        here.network.applies_to = every_fifth
        here.network.weather = Weather.REQUEST_LOST
        await until(lambda: renewals >= 30, within_s=15.0)
        assert await here.state() == "up"
        assert await here.causes() == ["registered"]


async def test_lost_answers_to_renewals_are_renewals(tmp_path: Path) -> None:
    async with joined(tmp_path) as here:
        here.network.applies_to, here.network.weather = is_renewal, Weather.REPLY_LOST
        before = len(here.network.seen)
        await until(lambda: len(here.network.seen) >= before + 8, within_s=15.0)
        assert await here.causes() == ["registered"]


async def test_draining_a_node_leaves_its_sessions_alone(tmp_path: Path) -> None:
    slow = SimulatedSettings(prepare_s=0, run_s=1.5, release_s=0.01)
    async with joined(tmp_path, platform=slow) as here:
        offered = await here.gateway.ask(minimal_request())
        first, second = (offer["meta"]["uuid"] for offer in offered.document["offers"])
        await here.gateway.move(first, "ACCEPTED")
        await here.node.call("POST", "/admin/drain", auth=ADMIN)
        await here.is_in_state("draining")

        refused = await here.gateway.ask(minimal_request())
        assert why_skipped(refused) == "draining"
        assert not is_terminal(SessionPhase((await here.gateway.read(first))["phase"]))

        async def is_over() -> bool:
            phase: str = (await here.gateway.read(first))["phase"]
            return phase == "COMPLETED"

        await eventually(is_over, 10.0)
        assert (await here.gateway.read(second))["phase"] == "REJECTED"
        await here.node.call("POST", "/admin/resume", auth=ADMIN)
        await here.is_in_state("up")
        assert await here.causes() == ["registered", "drained", "resumed"]


async def test_nodes_keep_their_place_while_the_gateway_is_away_for_longer_than_a_lease(
    tmp_path: Path,
) -> None:
    short = replace(SHORT, lease_s=1.2, renew_s=0.3, restart_grace_s=10.0)
    more: Document = {"registration": short, "secret_key": KEY}
    async with running_proxy("http://127.0.0.1:1") as network, AsyncExitStack() as stack:
        async with running_gateway({}, tmp_path / "gateway", **more) as gateway:
            network.target = gateway.url
            settings = await joining(gateway, network.url)
            node = await stack.enter_async_context(running_node(tmp_path / "node", settings))
            await Federation(gateway, node, network).is_in_state("up")
        network.weather = Weather.REQUEST_LOST
        seen = len(network.seen)
        # They are 0.27 s apart at least, so this takes longer than a lease.
        await until(lambda: len(network.seen) >= seen + 6, within_s=15.0)
        async with running_gateway({}, tmp_path / "gateway", **more) as gateway:
            network.target = gateway.url
            again = Federation(gateway, node, network)
            states = {await again.state()}
            network.weather = Weather.FINE
            await until(lambda: ("PUT", "/nodes/alpha/lease") in network.seen[seen + 6 :])
            states.add(await again.state())
            assert states <= {"up", "unknown"}
            assert await again.causes() == ["registered"]
            assert (await gateway.ask(minimal_request())).document["result"] == "YES"


async def test_a_node_that_was_killed_comes_back_at_another_address_without_a_new_token(
    tmp_path: Path,
) -> None:
    (tmp_path / "node").mkdir()
    async with running_gateway(
        {}, tmp_path / "gateway", registration=SHORT, secret_key=KEY
    ) as gateway:
        token = await mint(gateway, name="alpha")
        account = {"type": "basic", "username": ADMIN.login, "password_env": "ADMIN_PASSWORD"}
        join = {"gateway": gateway.url, "token_env": "TOKEN", "credentials": account}
        config, environ = process_config(join=[join]), {"TOKEN": token}

        async def is_up_at(url: str) -> bool:
            shown = (await gateway.call("GET", "/nodes/alpha")).document
            return bool(shown.get("url") == url and shown["state"] == "up")

        urls = []
        for _ in range(2):
            async with node_process(tmp_path / "node", config, environ) as node:
                urls.append(node.url)
                await eventually(partial(is_up_at, node.url), 10.0)
                await until(lambda: any((tmp_path / "node" / "memberships").glob("*.json")))
                await node.kill()
        shown = (await gateway.call("GET", "/nodes/alpha")).document
        causes = [change["cause"] for change in reversed(shown["changes"])]
        assert causes[0] == "registered"
        assert "registered_anew" in causes
        assert urls[0] != urls[1]
