"""Everybody at every route of a node: the isolation matrix, and that it is complete."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import aiohttp
import pytest

from gateway.httpkit.bearer.settings import IssuerSettings
from gateway.httpkit.passwords import Passwords
from gateway.httpkit.server_settings import AuthenticationSettings, Reads
from gateway.wire.documents import Document
from node_stub.app import build_app
from node_stub.ledger import Amounts
from tests.support.isolation import (
    OWNERS,
    Maker,
    Row,
    Scene,
    Who,
    differences,
    faults_of,
    routes_of,
)
from tests.support.node import (
    ADMIN,
    ALICE,
    BOB,
    CHEAP_HASHER,
    NOBODY,
    Account,
    NodeClient,
    node_settings,
    running_node,
)
from tests.support.node_requests import FULL
from tests.support.outputs import WritingPlatform, archived
from tests.support.requests import minimal_request

_ISSUER: Final = "http://127.0.0.1:9/"
_REQUEST: Final = minimal_request(**{part: FULL[part] for part in ("compute", "storage", "data")})
_UPDATE: Final[Document] = {"kind": "uri:enum-value-update", "path": "phase", "value": "ACCEPTED"}
_SHUT_OUT: Final[Document] = {"issuer": _ISSUER, "subject": "mallory"}
_MALLORY: Final = Account("mallory", "mallory-password")


async def _offered(scene: Scene) -> Document:
    _, made = await scene.call(Who.OWNER, "POST", "/requests", _REQUEST)
    assert made["result"] == "YES", made
    return made


async def offerset(scene: Scene) -> Mapping[str, str]:
    """An offer set of the owner's."""
    return {"uuid": (await _offered(scene))["meta"]["uuid"]}


async def offer(scene: Scene) -> Mapping[str, str]:
    """An offer, which can be accepted."""
    return {"uuid": (await _offered(scene))["offers"][0]["meta"]["uuid"]}


def component(*path: str | int) -> Maker:
    """Makes an offer, and gives the component at this place in it."""

    async def make(scene: Scene) -> Mapping[str, str]:
        found = (await _offered(scene))["offers"][0]
        for step in path:
            found = found[step]
        return {"uuid": found["meta"]["uuid"]}

    return make


async def outputs(scene: Scene) -> Mapping[str, str]:
    """A session that has left a log and a file."""
    uuid = (await offer(scene))["uuid"]
    home = scene.data_dir / uuid
    _leave_file(home)
    await scene.call(Who.OWNER, "POST", f"/sessions/{uuid}", _UPDATE)
    await archived(scene.data_dir, uuid, home)
    return {"uuid": uuid, "stream": "stdout", "path": "plot.png"}


async def old_challenge(_scene: Scene) -> Mapping[str, str]:
    """No registration of this node is under way."""
    return {"nonce": "0" * 32}


async def page(_scene: Scene) -> Mapping[str, str]:
    """A file of the documentation."""
    return {"file": "swagger-ui.css"}


async def new_name(_scene: Scene) -> Mapping[str, str]:
    """A name that nobody has."""
    return {"username": f"user-{uuid4()}"}


async def identity(scene: Scene) -> Mapping[str, str]:
    """Somebody whom the administrator has made."""
    document = {**await new_name(scene), "password": "secret of theirs"}
    _, made = await scene.call(Who.ADMIN, "POST", "/admin/identities", document)
    return {"uuid": made["uuid"]}


async def revocation(scene: Scene) -> Mapping[str, str]:
    """Somebody whose tokens are refused."""
    await scene.call(Who.ADMIN, "POST", "/admin/revocations", _SHUT_OUT)
    return {}


def _leave_file(home: Path) -> None:
    home.mkdir()
    (home / "plot.png").write_bytes(b"a plot")


_READABLE: Final = {
    "/offersets/{uuid}": offerset,
    "/sessions/{uuid}": offer,
    "/executables/{uuid}": component("executable"),
    "/compute/{uuid}": component("compute"),
    "/storage/{uuid}": component("storage", 0),
    "/data/{uuid}": component("data", 0),
    "/volumes/{uuid}": component("compute", "volumes", 0),
    "/sessions/{uuid}/results": outputs,
    "/streams/{uuid}/{stream}": outputs,
    "/results/{uuid}/{path}": outputs,
}
_OPEN: Final = ("/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/capabilities")

ROWS: Final = (
    *(Row("GET", path, 200, 200, 200, 200, 200, 200) for path in _OPEN),
    Row("GET", "/docs/{file}", 200, 200, 200, 200, 200, 200, make=page),
    Row(
        "GET",
        "/.well-known/execbroker-challenge/{nonce}",
        *(404, 404, 404, 404, 404, 404),
        make=old_challenge,
    ),
    Row("GET", "/actuator/health", 200, 200, 200, 200, private={Who.ANONYMOUS: 401}),
    *(
        Row("GET", path, 200, 200, 200, 200, make=make, private=OWNERS)
        for path, make in _READABLE.items()
    ),
    Row("POST", "/requests", 401, 303, 303, 303, body=minimal_request()),
    Row("POST", "/direct", 401, 303, 303, 303, body=minimal_request()),
    Row(
        "POST",
        "/sessions/{uuid}",
        *(401, 200, 403, 200),
        make=offer,
        body=_UPDATE,
        private={Who.OTHER: 404},
    ),
    Row(
        "POST",
        "/admin/identities",
        *(401, 403, 403, 201),
        make=new_name,
        body={"username": "{username}", "password": "secret of theirs"},
    ),
    Row("GET", "/admin/identities", 401, 403, 403, 200),
    Row("GET", "/admin/identities/{uuid}", 401, 403, 403, 200, make=identity),
    Row("PATCH", "/admin/identities/{uuid}", 401, 403, 403, 200, make=identity, body={}),
    Row("DELETE", "/admin/identities/{uuid}", 401, 403, 403, 204, make=identity),
    Row("POST", "/admin/revocations", 401, 403, 403, 200, body=_SHUT_OUT),
    Row("GET", "/admin/revocations", 401, 403, 403, 200),
    Row(
        "DELETE",
        "/admin/revocations",
        *(401, 403, 403, 204),
        make=revocation,
        query=f"?issuer={_ISSUER}&subject=mallory",
    ),
    Row("GET", "/admin/memberships", 401, 403, 403, 200),
    Row("POST", "/admin/drain", 401, 403, 403, 200),
    Row("POST", "/admin/resume", 401, 403, 403, 200),
)
"""The whole matrix. A node knows no credentials of other nodes, so that column is not tried."""


@asynccontextmanager
async def running_scene(data_dir: Path, reads: Reads) -> AsyncIterator[Scene]:
    """A node with room for everything that the rows make."""
    settings = node_settings(
        capacity=Amounts(cores=4000, memory_gib=16_000, storage_gib=100_000),
        authentication=AuthenticationSettings(
            reads=reads,
            issuers=(IssuerSettings(issuer=_ISSUER, audiences=("us",), allow_http=True),),
        ),
    )
    async with running_node(data_dir, settings, platform=WritingPlatform(data_dir)) as node:
        await _revoke(node, _MALLORY)
        people = {
            Who.ANONYMOUS: NOBODY,
            Who.OWNER: ALICE,
            Who.OTHER: BOB,
            Who.ADMIN: ADMIN,
            Who.REVOKED: _MALLORY,
        }
        headers = {who: account.headers for who, account in people.items()}
        async with aiohttp.ClientSession() as http:
            yield Scene(node.url, http, headers, data_dir)


async def _revoke(node: NodeClient, account: Account) -> None:
    document = {"username": account.login, "password": account.password}
    made = await node.call("POST", "/admin/identities", json=document, auth=ADMIN)
    path = f"/admin/identities/{made.document['uuid']}"
    assert (await node.call("PATCH", path, json={"revoked": True}, auth=ADMIN)).status == 200


@pytest.mark.parametrize("reads", Reads)
async def test_everybody_gets_what_the_matrix_says_at_every_route(
    tmp_path: Path, reads: Reads
) -> None:
    async with running_scene(tmp_path, reads) as scene:
        assert await differences(scene, ROWS, is_private=reads is Reads.OWNER) == []


async def test_every_route_has_its_row_and_every_row_its_route(tmp_path: Path) -> None:
    app = build_app(node_settings(), tmp_path, passwords=Passwords(CHEAP_HASHER))
    assert faults_of(ROWS, routes_of(app)) == []
