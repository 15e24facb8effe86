"""Everybody at every route of the gateway: the isolation matrix, and that it is complete."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from gateway.httpkit.bearer.settings import IssuerSettings
from gateway.httpkit.server_settings import AuthenticationSettings, Reads
from gateway.settings import DiscoverySettings, WebhookSettings
from gateway.wire.secret import Secret
from node_stub.ledger import Amounts
from tests.api.gateway.isolation_rows import HOOK_HOST, ISSUER, NODE, NODE_KEY, ROWS
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.isolation import Scene, Who, differences, faults_of, routes_of
from tests.support.members import LOCAL, join, running_member
from tests.support.node import ADMIN, ALICE, BOB, NOBODY, Account, node_settings, running_node
from tests.support.outputs import WritingPlatform

_REVOKED: Final = Account("mallory", "mallory-password")
_PEOPLE: Final = {
    Who.ANONYMOUS: NOBODY,
    Who.OWNER: ALICE,
    Who.OTHER: BOB,
    Who.ADMIN: ADMIN,
    Who.REVOKED: _REVOKED,
}


@asynccontextmanager
async def running_scene(
    data_dir: Path, reads: Reads
) -> AsyncIterator[tuple[GatewayUnderTest, Scene]]:
    """A gateway over one node with room for everything that the rows make."""
    room = node_settings(capacity=Amounts(cores=4000, memory_gib=16_000, storage_gib=100_000))
    async with (
        running_member() as member,
        running_node(data_dir, room, platform=WritingPlatform(data_dir)) as node,
        running_gateway(
            {"alpha": node.url},
            data_dir / "gateway",
            authentication=AuthenticationSettings(
                reads=reads,
                issuers=(IssuerSettings(issuer=ISSUER, audiences=("us",), allow_http=True),),
            ),
            webhooks=WebhookSettings(allow=(HOOK_HOST,), per_owner=100),
            secret_key=Secret("k" * 43),
            registration=LOCAL,
            discovery=DiscoverySettings(
                import_hosts=(node.url.removeprefix("http://"),),
                import_http=True,
                import_private=True,
            ),
        ) as gateway,
    ):
        await _revoke(gateway, _REVOKED)
        credential = await join(gateway, member, NODE, NODE_KEY)
        headers = {who: account.headers for who, account in _PEOPLE.items()}
        headers[Who.NODE] = {"Authorization": f"Bearer {credential}"}
        yield gateway, Scene(gateway.url, gateway.session, headers, data_dir)


async def _revoke(gateway: GatewayUnderTest, account: Account) -> None:
    """Make somebody who was let in, and is not any more."""
    document = {"username": account.login, "password": account.password}
    made = await gateway.call("POST", "/admin/identities", document)
    assert (await gateway.call("GET", "/nodes", account=account)).status == 200
    path = f"/admin/identities/{made.document['uuid']}"
    assert (await gateway.call("PATCH", path, {"revoked": True})).status == 200


@pytest.mark.parametrize("reads", Reads)
async def test_everybody_gets_what_the_matrix_says_at_every_route(
    tmp_path: Path, reads: Reads
) -> None:
    async with running_scene(tmp_path, reads) as (_, scene):
        assert await differences(scene, ROWS, is_private=reads is Reads.OWNER) == []


async def test_every_route_has_its_row_and_every_row_its_route(tmp_path: Path) -> None:
    async with running_gateway({}, tmp_path) as gateway:
        assert gateway.app is not None
        assert faults_of(ROWS, routes_of(gateway.app)) == []
