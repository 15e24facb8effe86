"""Who gets which status at every route of the gateway. Every route has its row here.

In the columns: nobody, the owner, another user, the administrator, and, where they get something
else than 403 and 401, a node's own credential and a revoked identity.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from uuid import uuid4

from gateway.wire.documents import Document
from tests.support.isolation import OWNERS, SIGNED_IN, Row, Scene, Who
from tests.support.members import to_text
from tests.support.node_requests import FULL
from tests.support.outputs import archived
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

_WITH_EVERYTHING: Final = minimal_request(
    **{part: FULL[part] for part in ("compute", "storage", "data")}
)
_TEMPLATE: Final = "/discovery/software/{uuid}"
NODE: Final = "beta"
"""The node whose credential the node's column is tried with; ``NODE_KEY`` proves its URL."""

NODE_KEY: Final = b"k" * 32

_NEW_NAME: Final[Document] = {
    "kind": "uri:string-value-update",
    "path": "/meta/name",
    "value": "another",
}
ISSUER: Final = "http://127.0.0.1:9/"
"""An issuer of tokens that nobody has any of: there is no service at that port."""

HOOK_HOST: Final = "hooks.example.org"
"""Where events may be sent to. There is no such host."""

_SHUT_OUT: Final[Document] = {"issuer": ISSUER, "subject": "mallory"}
_UPDATE: Final[Document] = {"kind": "uri:enum-value-update", "path": "phase", "value": "ACCEPTED"}


async def offerset(scene: Scene) -> Mapping[str, str]:
    """An offer set of the owner's."""
    return {"uuid": (await _asked(scene, minimal_request()))["meta"]["uuid"]}


async def offer(scene: Scene) -> Mapping[str, str]:
    """An offer, which can be accepted."""
    return {"uuid": (await _asked(scene, minimal_request()))["offers"][0]["meta"]["uuid"]}


async def executable(scene: Scene) -> Mapping[str, str]:
    """What an offer of the owner's would run."""
    return _component((await _full_offer(scene))["executable"])


async def compute(scene: Scene) -> Mapping[str, str]:
    """The computer in an offer."""
    return _component((await _full_offer(scene))["compute"])


async def storage(scene: Scene) -> Mapping[str, str]:
    """Storage in an offer."""
    return _component((await _full_offer(scene))["storage"][0])


async def data(scene: Scene) -> Mapping[str, str]:
    """Data in an offer."""
    return _component((await _full_offer(scene))["data"][0])


async def volume(scene: Scene) -> Mapping[str, str]:
    """A volume of the computer in an offer."""
    return _component((await _full_offer(scene))["compute"]["volumes"][0])


async def outputs(scene: Scene) -> Mapping[str, str]:
    """A session that has left a log and a file."""
    uuid = (await offer(scene))["uuid"]
    await scene.call(Who.OWNER, "POST", f"/sessions/{uuid}", _UPDATE)

    async def is_running() -> bool:
        _, session = await scene.call(Who.OWNER, "GET", f"/sessions/{uuid}")
        return bool(session["phase"] == "RUNNING")

    await eventually(is_running, 10)
    home = scene.data_dir / uuid
    _leave_file(home)
    await archived(scene.data_dir, uuid, home)
    return {"uuid": uuid, "stream": "stdout", "path": "plot.png"}


async def template(scene: Scene) -> Mapping[str, str]:
    """An execution template of the owner's."""
    _, made = await scene.call(Who.OWNER, "POST", "/discovery/software", minimal_request())
    return {"uuid": made["uuid"], "number": "1"}


async def template_at_node(scene: Scene) -> Mapping[str, str]:
    """Where an offer lies at its node: it has all that a template needs."""
    uuid = (await offer(scene))["uuid"]
    _, listed = await scene.call(Who.ADMIN, "GET", "/nodes")
    return {"url": f"{listed['nodes'][0]['url']}/sessions/{uuid}"}


async def its_own_node(_scene: Scene) -> Mapping[str, str]:
    """The node whose credential the node has."""
    return {"name": NODE}


async def some_node(_scene: Scene) -> Mapping[str, str]:
    """A node of the settings."""
    return {"name": "alpha"}


async def new_node(scene: Scene) -> Mapping[str, str]:
    """A node that nobody has registered, at a URL that proves itself."""
    _, shown = await scene.call(Who.ADMIN, "GET", f"/nodes/{NODE}")
    return {"name": f"node-{uuid4()}", "url": shown["url"], "key": to_text(NODE_KEY)}


async def another_node(scene: Scene) -> Mapping[str, str]:
    """A node that the administrator has registered."""
    names = await new_node(scene)
    document = {"name": names["name"], "url": names["url"], "challenge_key": names["key"]}
    await scene.call(Who.ADMIN, "POST", "/nodes", document)
    return names


async def registration_token(scene: Scene) -> Mapping[str, str]:
    """A registration token."""
    _, made = await scene.call(Who.ADMIN, "POST", "/admin/registration-tokens", {})
    return {"uuid": made["uuid"]}


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


async def draft(scene: Scene) -> Mapping[str, str]:
    """A draft of the owner's that can be submitted."""
    _, made = await scene.call(Who.OWNER, "POST", "/drafts", {"request": minimal_request()})
    return _component(made)


async def webhook(scene: Scene) -> Mapping[str, str]:
    """A webhook of the owner's."""
    url = {"url": f"https://{HOOK_HOST}/hook"}
    _, made = await scene.call(Who.OWNER, "POST", "/webhooks", url)
    return {"uuid": made["uuid"]}


async def old_challenge(_scene: Scene) -> Mapping[str, str]:
    """No registration of this gateway is under way."""
    return {"nonce": "0" * 32}


def _leave_file(home: Path) -> None:
    home.mkdir()
    (home / "plot.png").write_bytes(b"a plot")


async def _asked(scene: Scene, request: Document) -> Document:
    _, document = await scene.call(Who.OWNER, "POST", "/requests", request)
    assert document["result"] == "YES", document
    return document


async def _full_offer(scene: Scene) -> Document:
    found: Document = (await _asked(scene, _WITH_EVERYTHING))["offers"][0]
    return found


def _component(document: Document) -> Mapping[str, str]:
    return {"uuid": document["meta"]["uuid"]}


_OPEN: Final = (
    Row("GET", "/livez", 200, 200, 200, 200, 200, 200),
    Row("GET", "/readyz", 200, 200, 200, 200, 200, 200),
    Row("GET", "/metrics", 200, 200, 200, 200, 200, 200),
    Row("GET", "/openapi.json", 200, 200, 200, 200, 200, 200),
    Row("GET", "/docs", 200, 200, 200, 200, 200, 200),
    Row("GET", "/docs/{file}", 200, 200, 200, 200, 200, 200, make=page),
    Row("GET", "/capabilities", 200, 200, 200, 200, 200, 200),
    Row(
        "GET",
        "/.well-known/execbroker-challenge/{nonce}",
        *(404, 404, 404, 404, 404, 404),
        make=old_challenge,
    ),
)

_SESSIONS: Final = (
    Row("POST", "/requests", 401, 303, 303, 303, body=minimal_request()),
    Row("POST", "/direct", 401, 303, 303, 303, body=minimal_request()),
    Row("GET", "/offersets/{uuid}", 200, 200, 200, 200, make=offerset, private=OWNERS),
    Row("GET", "/offersets/{uuid}/explanation", 200, 200, 200, 200, make=offerset, private=OWNERS),
    Row(
        "POST",
        "/offersets/{uuid}/ranking",
        *(401, 200, 200, 200),
        make=offerset,
        body={"policy": "soonest"},
        private={Who.OTHER: 404},
    ),
    Row("GET", "/sessions/{uuid}", 200, 200, 200, 200, make=offer, private=OWNERS),
    Row(
        "POST",
        "/sessions/{uuid}",
        *(401, 200, 403, 200),
        make=offer,
        body=_UPDATE,
        private={Who.OTHER: 404},
    ),
    Row("GET", "/executables/{uuid}", 200, 200, 200, 200, make=executable, private=OWNERS),
    Row("GET", "/compute/{uuid}", 200, 200, 200, 200, make=compute, private=OWNERS),
    Row("GET", "/storage/{uuid}", 200, 200, 200, 200, make=storage, private=OWNERS),
    Row("GET", "/data/{uuid}", 200, 200, 200, 200, make=data, private=OWNERS),
    Row("GET", "/volumes/{uuid}", 200, 200, 200, 200, make=volume, private=OWNERS),
    Row("GET", "/sessions/{uuid}/results", 200, 200, 200, 200, make=outputs, private=OWNERS),
    Row("GET", "/streams/{uuid}/{stream}", 200, 200, 200, 200, make=outputs, private=OWNERS),
    Row("GET", "/results/{uuid}/{path}", 200, 200, 200, 200, make=outputs, private=OWNERS),
)

_FEDERATION: Final = (
    Row("GET", "/nodes", 200, 200, 200, 200, private=SIGNED_IN),
    Row("GET", "/nodes/{name}", 200, 200, 200, 200, make=some_node, private=SIGNED_IN),
    Row(
        "POST",
        "/nodes",
        *(401, 403, 403, 201),
        make=new_node,
        body={"name": "{name}", "url": "{url}", "challenge_key": "{key}"},
    ),
    Row("PUT", "/nodes/{name}/lease", 401, 403, 403, 403, 200, make=its_own_node, body={}),
    Row("PATCH", "/nodes/{name}", 401, 403, 403, 200, 200, make=its_own_node, body={"site": "uk"}),
    Row("DELETE", "/nodes/{name}", 401, 403, 403, 204, make=another_node),
    Row("POST", "/admin/registration-tokens", 401, 403, 403, 201, body={}),
    Row("GET", "/admin/registration-tokens", 401, 403, 403, 200),
    Row(
        "DELETE",
        "/admin/registration-tokens/{uuid}",
        *(401, 403, 403, 204),
        make=registration_token,
    ),
    Row("GET", "/reasons", 200, 200, 200, 200, private=SIGNED_IN),
)

_EDITING: Final = (
    Row("GET", "/offersets", 401, 200, 200, 200),
    Row("GET", "/sessions", 401, 200, 200, 200),
    Row(
        "PATCH",
        "/offersets/{uuid}/request",
        *(401, 303, 403, 303),
        make=offerset,
        body={"executable": {"meta": {"name": "another"}}},
        private={Who.OTHER: 404},
    ),
    Row("POST", "/drafts", 401, 201, 201, 201, body={"request": minimal_request()}),
    Row("GET", "/drafts", 401, 200, 200, 200),
    Row("GET", "/drafts/{uuid}", 401, 200, 404, 200, make=draft),
    Row("PATCH", "/drafts/{uuid}", 401, 200, 404, 200, make=draft, body=_NEW_NAME),
    Row("DELETE", "/drafts/{uuid}", 401, 204, 404, 204, make=draft),
    Row("POST", "/drafts/{uuid}/submit", 401, 303, 404, 303, make=draft),
)

_EVENTS: Final = (
    Row("GET", "/events", 401, 200, 200, 200),
    Row("GET", "/sessions/{uuid}/events", 200, 200, 200, 200, make=offer, private=OWNERS),
    Row("GET", "/offersets/{uuid}/events", 200, 200, 200, 200, make=offerset, private=OWNERS),
    Row("POST", "/webhooks", 401, 201, 201, 201, body={"url": f"https://{HOOK_HOST}/hook"}),
    Row("GET", "/webhooks", 401, 200, 200, 200),
    Row("GET", "/webhooks/{uuid}", 401, 200, 404, 200, make=webhook),
    Row("DELETE", "/webhooks/{uuid}", 401, 204, 404, 204, make=webhook),
    Row("GET", "/webhooks/{uuid}/deliveries", 401, 200, 404, 200, make=webhook),
)

_DISCOVERY: Final = (
    Row("GET", "/vosi/capabilities", 200, 200, 200, 200, 200, 200),
    Row("GET", "/vosi/availability", 200, 200, 200, 200, 200, 200),
    Row("GET", "/discovery/kinds", 200, 200, 200, 200, private=SIGNED_IN),
    Row("GET", "/discovery/nodes", 200, 200, 200, 200, private=SIGNED_IN),
    Row("GET", "/discovery/data", 401, 200, 200, 200, query="?rucio_did=test:f1"),
    Row("POST", "/discovery/estimate", 401, 200, 200, 200, body=minimal_request()),
    Row("GET", "/discovery/software", 200, 200, 200, 200, private=SIGNED_IN),
    Row("POST", "/discovery/software", 401, 201, 201, 201, body=minimal_request()),
    Row(
        "POST",
        "/discovery/import",
        *(401, 201, 201, 201),
        make=template_at_node,
        body={"url": "{url}"},
    ),
    Row("GET", _TEMPLATE, 200, 200, 200, 200, make=template, private=SIGNED_IN),
    Row("PUT", _TEMPLATE, 401, 200, 403, 200, make=template, body=_WITH_EVERYTHING),
    Row("DELETE", _TEMPLATE, 401, 204, 403, 204, make=template),
    Row("GET", f"{_TEMPLATE}/versions", 200, 200, 200, 200, make=template, private=SIGNED_IN),
    Row(
        "GET",
        f"{_TEMPLATE}/versions/{{number}}",
        *(200, 200, 200, 200),
        make=template,
        private=SIGNED_IN,
    ),
)

_ADMINISTRATION: Final = (
    Row(
        "POST",
        "/admin/identities",
        *(401, 403, 403, 201),
        make=new_name,
        body={"username": "{username}", "password": "secret of theirs"},
    ),
    Row("GET", "/admin/identities", 401, 403, 403, 200),
    Row("GET", "/admin/identities/{uuid}", 401, 403, 403, 200, make=identity),
    Row(
        "PATCH",
        "/admin/identities/{uuid}",
        *(401, 403, 403, 200),
        make=identity,
        body={"revoked": True},
    ),
    Row("DELETE", "/admin/identities/{uuid}", 401, 403, 403, 204, make=identity),
    Row("POST", "/admin/revocations", 401, 403, 403, 200, body=_SHUT_OUT),
    Row("GET", "/admin/revocations", 401, 403, 403, 200),
    Row(
        "DELETE",
        "/admin/revocations",
        *(401, 403, 403, 204),
        make=revocation,
        query=f"?issuer={ISSUER}&subject=mallory",
    ),
    Row("GET", "/admin/memberships", 401, 403, 403, 200),
    Row("GET", "/admin/audit", 401, 403, 403, 200),
)

ROWS: Final = (
    *_OPEN,
    *_SESSIONS,
    *_EDITING,
    *_EVENTS,
    *_FEDERATION,
    *_DISCOVERY,
    *_ADMINISTRATION,
)
"""The whole matrix."""
