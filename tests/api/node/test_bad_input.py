"""What a node answers to input that is not right: one test for each way to be wrong."""

import copy
from typing import Any, Final
from uuid import uuid4

import pytest

from gateway.wire.documents import Document
from gateway.wire.kinds import SIMPLE_COMPUTE, SIMPLE_DATA, SIMPLE_STORAGE, SIMPLE_VOLUME
from tests.support.node import ADMIN, ALICE, NOBODY, Account, NodeClient
from tests.support.node_requests import MINIMAL

WRONG: Final = Account("alice", "not-her-password")
JSON: Final = {"Content-Type": "application/json"}
STRANGE: Final[Document] = {"kind": "urn:example:strange", "meta": {"name": "odd"}}


def changed(path: str, value: Any, base: Document = MINIMAL) -> Document:
    """The request with one member set; dots go down, numbers into lists."""
    document = copy.deepcopy(base)
    *steps, last = path.split(".")
    inner: Any = document
    for step in steps:
        inner = inner.setdefault(step, {}) if isinstance(inner, dict) else inner[int(step)]
    inner[last] = value
    return document


@pytest.mark.parametrize("path", ["/requests", "/direct"])
async def test_a_request_without_credentials_is_401_with_a_challenge(
    node: NodeClient, path: str
) -> None:
    answer = await node.call("POST", path, json=MINIMAL, auth=NOBODY)

    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="Realm"'


async def test_an_update_without_credentials_is_401(node: NodeClient) -> None:
    assert (await node.update(str(uuid4()), "ACCEPTED", auth=NOBODY)).status == 401


async def test_wrong_credentials_are_401_even_on_a_public_read(node: NodeClient) -> None:
    offers = await node.ask(MINIMAL)

    path = f"/offersets/{offers.uuid}"

    assert (await node.call("GET", path, auth=NOBODY)).status == 200
    assert (await node.call("GET", path, auth=WRONG)).status == 401


@pytest.mark.parametrize(
    "collection",
    ["offersets", "sessions", "executables", "compute", "storage", "data", "volumes"],
)
async def test_an_unknown_uuid_is_a_404_problem(node: NodeClient, collection: str) -> None:
    answer = await node.call("GET", f"/{collection}/{uuid4()}")

    assert answer.status == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.document["status"] == 404


async def test_an_update_of_an_unknown_session_is_404(node: NodeClient) -> None:
    assert (await node.update(str(uuid4()), "ACCEPTED")).status == 404


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_malformed_uuid_is_400(node: NodeClient, method: str) -> None:
    answer = await node.call(method, "/sessions/not-a-uuid")

    assert answer.status == 400


@pytest.mark.parametrize("body", [b"{", b"[1, 2", b"\xff\xfe", b'{"a": NaN}', b"", b"   "])
async def test_a_body_that_is_not_json_is_400_with_a_reason(node: NodeClient, body: bytes) -> None:
    answer = await node.call("POST", "/requests", data=body, headers=JSON)

    assert answer.status == 400
    assert answer.document["detail"]


async def test_a_body_that_is_not_yaml_is_400(node: NodeClient) -> None:
    answer = await node.call(
        "POST", "/requests", data=b"a: [1", headers={"Content-Type": "application/yaml"}
    )

    assert answer.status == 400


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"7", b"null"])
async def test_a_body_that_is_no_object_is_400(node: NodeClient, body: bytes) -> None:
    assert (await node.call("POST", "/requests", data=body, headers=JSON)).status == 400


@pytest.mark.parametrize(
    ("path", "member", "pointer"),
    [
        ("executable", {"image": {"locations": ["x"]}}, "/executable/kind"),
        ("compute", {"cores": {"min": 1}}, "/compute/kind"),
        ("storage", [{"size": {"min": 1}}], "/storage/0/kind"),
        ("data", [{"location": "x"}], "/data/0/kind"),
        ("costs", [{"type": "urn:x", "max": 1.0}], "/costs/0/kind"),
        ("metrics", [{"type": "urn:x", "max": 1.0}], "/metrics/0/kind"),
        (
            "compute",
            {"kind": SIMPLE_COMPUTE, "volumes": [{"resource": "x"}]},
            "/compute/volumes/0/kind",
        ),
    ],
)
async def test_a_missing_kind_is_400_and_named(
    node: NodeClient, path: str, member: Any, pointer: str
) -> None:
    answer = await node.ask(changed(path, member))

    assert answer.status == 400
    assert pointer in [error["pointer"] for error in answer.document["errors"]]


@pytest.mark.parametrize(
    ("member", "value", "pointer"),
    [
        ("executable", STRANGE, "/executable"),
        ("compute", STRANGE, "/compute"),
        ("storage", [STRANGE], "/storage/0"),
        ("data", [STRANGE], "/data/0"),
        ("compute", {"kind": SIMPLE_COMPUTE, "volumes": [STRANGE]}, "/compute/volumes/0"),
        ("costs", [STRANGE], "/costs/0"),
        ("metrics", [STRANGE], "/metrics/0"),
        ("compute", {"kind": SIMPLE_COMPUTE, "costs": [STRANGE]}, "/compute/costs/0"),
    ],
)
async def test_an_unknown_kind_is_a_no_with_a_reason(
    node: NodeClient, member: str, value: Any, pointer: str
) -> None:
    answer = await node.ask(changed(member, value))

    assert answer.status == 303
    assert answer.document["result"] == "NO"
    (message,) = answer.messages
    assert (message["kind"], message["level"]) == ("urn:unknown-type", "ERROR")
    assert message["values"] == {"kind": STRANGE["kind"], "name": "odd", "path": pointer}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schedule.requested.duration", "ten minutes"),
        ("schedule.requested.start", "tomorrow"),
        ("compute.cores", {"min": "2"}),
        ("compute.cores", {"min": 2.0}),
        ("executable.privileged", "no"),
    ],
)
async def test_a_member_that_breaks_the_schema_is_400(
    node: NodeClient, path: str, value: Any
) -> None:
    base = {**MINIMAL, "compute": {"kind": SIMPLE_COMPUTE}}

    assert (await node.ask(changed(path, value, base))).status == 400


async def test_all_faults_are_told_at_once(node: NodeClient) -> None:
    document = changed("schedule.requested.duration", "soon")
    document["executable"]["privileged"] = "no"

    answer = await node.ask(document)

    pointers = {error["pointer"] for error in answer.document["errors"]}
    assert pointers == {"/schedule/requested/duration", "/executable/privileged"}


@pytest.mark.parametrize("missing", ["kind", "path", "value"])
async def test_an_update_that_lacks_a_member_is_400(node: NodeClient, missing: str) -> None:
    offers = await node.ask(MINIMAL)
    update = {"kind": "uri:enum-value-update", "path": "phase", "value": "ACCEPTED"}
    del update[missing]

    uuid = offers.document["offers"][0]["meta"]["uuid"]

    assert (await node.call("POST", f"/sessions/{uuid}", json=update)).status == 400


async def test_a_content_type_that_is_not_read_is_415(node: NodeClient) -> None:
    answer = await node.call("POST", "/requests", data=b"x", headers={"Content-Type": "text/plain"})

    assert answer.status == 415


async def test_an_answer_that_cannot_be_made_is_406_and_holds_nothing(node: NodeClient) -> None:
    answer = await node.call(
        "POST", "/requests", json=MINIMAL, headers={"Accept": "application/pdf"}
    )

    assert answer.status == 406
    assert "execbroker_node_ledger_bookings 0.0" in await node.text("/metrics")


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"executable": {**MINIMAL["executable"], "privileged": True}},
        {"executable": {**MINIMAL["executable"], "image": {"locations": []}}},
        changed("executable.network", {"ports": [{}]}),
        changed("executable.network", {"ports": [{"access": True, "internal": {"port": 80}}]}),
        changed("schedule.requested.duration", "P1Y"),
        changed("schedule.requested.duration", "PT0S"),
        changed("schedule.requested.duration", "P100D"),
    ],
    ids=[
        "no executable",
        "privileged",
        "no image location",
        "a port without anything",
        "a port without path or protocol",
        "a duration in years",
        "no duration at all",
        "too long",
    ],
)
async def test_what_cannot_be_run_is_a_complete_answer_never_a_500(
    node: NodeClient, document: Document
) -> None:
    answer = await node.ask(document)

    assert answer.status == 303
    if answer.document["result"] == "NO":
        assert answer.messages
        assert "offers" not in answer.document
    for message in answer.messages:
        assert message["message"]
        assert "${" not in message["message"]


async def test_no_executable_is_a_no_that_says_so(node: NodeClient) -> None:
    answer = await node.ask({})

    assert answer.document["result"] == "NO"
    assert [message["kind"] for message in answer.messages] == ["urn:executable-required"]


async def test_over_the_limit_without_names_is_a_no_with_reasons(node: NodeClient) -> None:
    document = {
        **MINIMAL,
        "compute": {"kind": SIMPLE_COMPUTE, "cores": {"min": 99}},
        "storage": [{"kind": SIMPLE_STORAGE, "size": {"min": 99999}}],
    }

    answer = await node.ask(document)

    assert answer.document["result"] == "NO"
    assert [m["kind"] for m in answer.messages] == ["urn:resource-limit"] * 2


async def test_a_volume_of_a_name_that_data_and_storage_share_is_a_no(node: NodeClient) -> None:
    """Upstream answered 500."""
    name = {"meta": {"name": "both"}}
    document = {
        **MINIMAL,
        "compute": {
            "kind": SIMPLE_COMPUTE,
            "volumes": [{"kind": SIMPLE_VOLUME, "resource": "both"}],
        },
        "storage": [{"kind": SIMPLE_STORAGE, **name}],
        "data": [{"kind": SIMPLE_DATA, **name, "location": "https://example.org/a"}],
    }

    answer = await node.ask(document)

    assert answer.document["result"] == "NO"
    (message,) = answer.messages
    assert message["kind"] == "urn:duplicate-resource"
    assert message["values"]["path"] == "/compute/volumes/0/resource"


@pytest.mark.parametrize("path", ["/requests", "/direct"])
async def test_getting_what_can_only_be_posted_is_405(node: NodeClient, path: str) -> None:
    answer = await node.call("GET", path, auth=ADMIN)

    assert answer.status == 405
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"username": " ", "password": "x"}, "username is required"),
        ({"username": "carol", "password": ""}, "password is required"),
        ({}, "username is required"),
    ],
)
async def test_an_identity_without_name_or_password_is_400(
    node: NodeClient, document: Document, error: str
) -> None:
    answer = await node.call("POST", "/admin/identities", json=document, auth=ADMIN)

    assert answer.status == 400
    assert answer.document["error"] == error


async def test_an_identity_whose_name_is_taken_is_409_with_its_uuid(node: NodeClient) -> None:
    document = {"username": "alice", "password": "x"}

    answer = await node.call("POST", "/admin/identities", json=document, auth=ADMIN)

    assert answer.status == 409
    assert answer.document["error"] == "username already exists"
    assert answer.document["uuid"]


async def test_only_the_administrator_makes_identities(node: NodeClient) -> None:
    document = {"username": "carol", "password": "x"}

    assert (await node.call("POST", "/admin/identities", json=document, auth=ALICE)).status == 403
    assert (await node.call("POST", "/admin/identities", json=document, auth=NOBODY)).status == 401
    made = await node.call("POST", "/admin/identities", json=document, auth=ADMIN)
    assert (made.status, made.document["username"]) == (201, "carol")


async def test_the_upstream_probe_is_answered(node: NodeClient) -> None:
    answer = await node.call("GET", "/actuator/health", auth=NOBODY)

    assert (answer.status, answer.document) == (200, {"status": "UP"})
