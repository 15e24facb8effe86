"""What the gateway answers to bodies that it cannot read, and documents that nobody can run."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.wire import kinds
from gateway.wire.documents import Document, to_json
from tests.api.gateway.conftest import Federation, holds_of, running_federation
from tests.support.gateway import FEDERATION, GatewayUnderTest
from tests.support.problems import SOME_UUID, pointers, problem, said, sent
from tests.support.requests import minimal_request

MAX_BODY_BYTES: Final = 64 * 1024
ACCEPT: Final = {"kind": kinds.ENUM_UPDATE, "path": "phase", "value": "ACCEPTED"}


@pytest.fixture
async def federation(tmp_path: Path) -> AsyncIterator[Federation]:
    async with running_federation(
        tmp_path, ("alpha",), federation=FEDERATION, max_body_bytes=MAX_BODY_BYTES
    ) as running:
        yield running


@pytest.fixture
def gateway(federation: Federation) -> GatewayUnderTest:
    return federation.gateway


def with_compute(**members: Any) -> Document:
    return minimal_request(compute={"kind": kinds.SIMPLE_COMPUTE, **members})


def with_executable(**members: Any) -> Document:
    request = minimal_request()
    request["executable"] |= members
    return request


@pytest.mark.parametrize("path", ["/requests", "/direct", f"/sessions/{SOME_UUID}"])
@pytest.mark.parametrize("body", [b"", b"  \n"])
async def test_a_missing_body_is_400(gateway: GatewayUnderTest, path: str, body: bytes) -> None:
    assert "missing" in problem(await sent(gateway, body, path=path), 400)["detail"]


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"a": 1', b"[1, 2", b"{'a': 1}", b'{"a": NaN}', b'{"a": 1e999}', b"\xff\xfe{}",
     b'{"a": 1} x', b'{"a": "\\ud800"}', b'{"a": 18446744073709551616}'],
)  # fmt: skip
async def test_malformed_json_is_400_with_a_reason(gateway: GatewayUnderTest, body: bytes) -> None:
    document = problem(await sent(gateway, body), 400)
    assert document["detail"].startswith("Not readable as application/json: ")


@pytest.mark.parametrize(
    "body",
    [b"a: [1", b"a: b: c", b"\ta: 1", b"a: 1\na: 2", b"--- {}\n--- {}\n", b"a: !!python/none x",
     b"a: *nothing", b"<<: {a: 1}", b"a: .nan", b"? [a]\n: b"],
)  # fmt: skip
async def test_malformed_yaml_is_400_with_a_reason(gateway: GatewayUnderTest, body: bytes) -> None:
    document = problem(await sent(gateway, body, "application/yaml"), 400)
    assert document["detail"].startswith("Not readable as application/yaml: ")


@pytest.mark.parametrize(
    "body",
    [b"<offers-request>", b"<a/><b/>", b"x", b"<offers-request>&nbsp;</offers-request>",
     b"<offers-request><a>1</b></offers-request>", b"<nothing-we-know/>"],
)  # fmt: skip
async def test_malformed_xml_is_400_with_a_reason(gateway: GatewayUnderTest, body: bytes) -> None:
    document = problem(await sent(gateway, body, "application/xml"), 400)
    assert document["detail"].startswith("Not readable as application/xml: ")


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"7", b"null", b"true"])
async def test_a_body_that_is_no_object_is_400(gateway: GatewayUnderTest, body: bytes) -> None:
    assert pointers(problem(await sent(gateway, body), 400)) == [""]


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/octet-stream", "application/x-www-form-urlencoded", "text/html",
     "multipart/form-data; boundary=x", "nonsense", "application/json; charset=utf-16"],
)  # fmt: skip
async def test_a_content_type_that_is_not_read_is_415(
    gateway: GatewayUnderTest, content_type: str
) -> None:
    answer = await sent(gateway, to_json(minimal_request()), content_type)
    problem(answer, 415)
    assert "application/yaml" in answer.headers["Accept"]


async def test_a_body_that_does_not_say_what_it_is_is_415(gateway: GatewayUnderTest) -> None:
    problem(await sent(gateway, to_json(minimal_request()), None), 415)


async def test_an_answer_that_cannot_be_made_is_406_and_nothing_is_held(
    federation: Federation,
) -> None:
    answer = await federation.gateway.ask(minimal_request(), Accept="application/pdf")
    problem(answer, 406)
    assert await holds_of(federation.nodes["alpha"]) == 0


async def test_too_large_a_body_is_413(gateway: GatewayUnderTest) -> None:
    request = minimal_request(padding="x" * MAX_BODY_BYTES)
    problem(await gateway.ask(request), 413)


@pytest.mark.parametrize("content_type", ["application/json", "application/yaml"])
async def test_too_deep_a_document_is_400(gateway: GatewayUnderTest, content_type: str) -> None:
    body = b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}"
    assert "deep" in problem(await sent(gateway, body, content_type), 400)["detail"]
    body = b'{"a": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    problem(await sent(gateway, body, content_type), 400)


async def test_too_deep_xml_is_400(gateway: GatewayUnderTest) -> None:
    body = b"<offers-request>" + b"<a>" * 2000 + b"</a>" * 2000 + b"</offers-request>"
    assert "deep" in problem(await sent(gateway, body, "application/xml"), 400)["detail"]


async def test_yaml_whose_aliases_explode_is_400(gateway: GatewayUnderTest) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    document = problem(await sent(gateway, "\n".join(lines).encode(), "application/yaml"), 400)
    assert "values" in document["detail"]


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE a [<!ENTITY l0 "lol"><!ENTITY l1 "&l0;&l0;&l0;&l0;"><!ENTITY l2 "&l1;&l1;">]>',
        '<!DOCTYPE a [<!ENTITY file SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd">',
    ],
    ids=["bomb", "file", "remote"],
)
async def test_xml_with_a_document_type_is_400_and_nothing_of_it_is_read(
    gateway: GatewayUnderTest, head: str
) -> None:
    body = f"{head}<offers-request><x>&file;&l2;</x></offers-request>".encode()
    answer = await sent(gateway, body, "application/xml")
    problem(answer, 400)
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"executable": {"image": {"locations": ["x"]}}}, "/executable/kind"),
        ({"compute": {"cores": {"min": 1}}}, "/compute/kind"),
        ({"storage": [{"size": {"min": 1}}]}, "/storage/0/kind"),
        ({"data": [{"location": "x"}]}, "/data/0/kind"),
        ({"costs": [{"type": "urn:x", "max": 1.0}]}, "/costs/0/kind"),
        ({"metrics": [{"type": "urn:x", "max": 1.0}]}, "/metrics/0/kind"),
    ],
)
async def test_a_missing_kind_is_400_and_named(
    gateway: GatewayUnderTest, members: Document, pointer: str
) -> None:
    assert pointers(problem(await gateway.ask(minimal_request(**members)), 400)) == [pointer]


async def test_a_missing_kind_of_a_volume_is_400_and_named(gateway: GatewayUnderTest) -> None:
    answer = await gateway.ask(with_compute(volumes=[{"path": "/data"}]))
    assert pointers(problem(answer, 400)) == ["/compute/volumes/0/kind"]


@pytest.mark.parametrize(
    "members",
    [
        {"executable": {"kind": "urn:example:unikernel"}},
        {"compute": {"kind": "urn:example:gpu"}},
        {"storage": [{"kind": "urn:example:tape"}]},
        {"data": [{"kind": "urn:example:stream"}]},
        {"costs": [{"kind": "urn:example:barter"}]},
        {"metrics": [{"kind": "urn:example:beauty"}]},
    ],
)
async def test_an_unknown_kind_reaches_the_nodes_and_is_their_no(
    gateway: GatewayUnderTest, members: Document
) -> None:
    answer = await gateway.ask(minimal_request(**members))
    assert "urn:unknown-type" in said(answer)
    assert (await gateway.ask(minimal_request())).document["result"] == "YES"


@pytest.mark.parametrize(
    ("requested", "pointer"),
    [
        ({"duration": "ten minutes"}, "/schedule/requested/duration"),
        ({"duration": "PT1H\n"}, "/schedule/requested/duration"),
        ({"duration": 600}, "/schedule/requested/duration"),
        ({"start": "tomorrow"}, "/schedule/requested/start"),
        ({"start": ["2031-01-01T00:00:00Z", "soon"]}, "/schedule/requested/start/1"),
        ({"daily": {"start": "9", "end": "17:00"}}, "/schedule/requested/daily"),
        (
            {"daily": {"start": "09:00", "end": "17:00", "timezone": "Moon/Crater"}},
            "/schedule/requested/daily",
        ),
    ],
)
async def test_a_schedule_that_is_no_time_is_400_and_named(
    gateway: GatewayUnderTest, requested: Document, pointer: str
) -> None:
    answer = await gateway.ask(minimal_request(schedule={"requested": requested}))
    assert pointers(problem(answer, 400)) == [pointer]


async def test_several_faults_are_told_at_once(gateway: GatewayUnderTest) -> None:
    request = minimal_request(
        executable={"kind": kinds.DOCKER_CONTAINER, "privileged": "no"},
        compute={"kind": kinds.SIMPLE_COMPUTE, "cores": {"min": "2", "max": 2.5}},
        storage=[{"kind": kinds.SIMPLE_STORAGE}, {}],
        schedule={"requested": {"duration": "soon"}},
    )
    assert pointers(problem(await gateway.ask(request), 400)) == [
        "/executable/privileged",
        "/compute/cores/min",
        "/compute/cores/max",
        "/storage/1/kind",
        "/schedule/requested/duration",
    ]


@pytest.mark.parametrize("member", ["kind", "path", "value"])
async def test_an_update_that_lacks_a_member_is_400_and_named(
    gateway: GatewayUnderTest, member: str
) -> None:
    offer = (await gateway.ask(minimal_request())).document["offers"][0]
    update = {name: value for name, value in ACCEPT.items() if name != member}
    answer = await gateway.call("POST", f"/sessions/{offer['meta']['uuid']}", update)
    assert pointers(problem(answer, 400)) == [f"/{member}"]


@pytest.mark.parametrize(
    "change",
    [
        {"path": "executable"},
        {"value": "RUNNING"},
        {"value": "FAILED"},
        {"value": "accepted"},
        {"value": "CANCELLED"},
        {"kind": kinds.STRING_UPDATE},
    ],
)
async def test_an_update_that_cannot_be_is_200_unchanged_with_a_message_and_strictly_409(
    gateway: GatewayUnderTest, change: Document
) -> None:
    offer = (await gateway.ask(minimal_request())).document["offers"][0]
    path = f"/sessions/{offer['meta']['uuid']}"
    if change == {"value": "CANCELLED"}:
        await gateway.move(offer["meta"]["uuid"], "REJECTED")
    before = (await gateway.read(offer["meta"]["uuid"]))["phase"]
    answer = await gateway.call("POST", path, ACCEPT | change)
    assert (answer.status, answer.document["phase"]) == (200, before)
    assert answer.document["meta"]["messages"][-1]["message"]
    strict = await gateway.call("POST", path, ACCEPT | change, Prefer="handling=strict")
    problem(strict, 409)


async def test_no_executable_is_a_no_that_says_so(gateway: GatewayUnderTest) -> None:
    assert "urn:executable-required" in said(await gateway.ask({}))


async def test_over_the_limit_without_names_is_a_no_with_reasons(gateway: GatewayUnderTest) -> None:
    request = with_compute(cores={"min": 5000}, memory={"min": 5000})
    request["storage"] = [{"kind": kinds.SIMPLE_STORAGE, "size": {"min": 10**9}}]
    assert said(await gateway.ask(request)).count("urn:resource-limit") == 3


@pytest.mark.parametrize(
    "port",
    [{}, {"access": True}, {"internal": {"port": 80}}, {"access": True, "internal": {}},
     {"access": True, "protocol": "HTTP", "internal": {"port": 80}}],
)  # fmt: skip
async def test_a_port_without_members_is_an_answer_and_no_defect(
    gateway: GatewayUnderTest, port: Document
) -> None:
    answer = await gateway.ask(with_executable(network={"ports": [port]}))
    assert answer.status == 303
    if answer.document["result"] == "NO":
        assert said(answer)


async def test_a_volume_that_names_data_and_storage_alike_is_a_no_with_a_reason(
    gateway: GatewayUnderTest,
) -> None:
    request = with_compute(volumes=[{"kind": kinds.SIMPLE_VOLUME, "resource": "both"}])
    named = {"meta": {"name": "both"}}
    request["storage"] = [{"kind": kinds.SIMPLE_STORAGE, **named}]
    request["data"] = [
        {"kind": kinds.SIMPLE_DATA, "location": "https://example.org/a", "storage": "both", **named}
    ]
    assert said(await gateway.ask(request))


async def test_a_privileged_container_is_a_no_with_a_reason(gateway: GatewayUnderTest) -> None:
    assert "urn:not-supported" in said(await gateway.ask(with_executable(privileged=True)))


async def test_direct_without_executable_is_400_and_a_failed_session_that_says_why(
    gateway: GatewayUnderTest,
) -> None:
    answer = await gateway.call("POST", "/direct", {})
    assert answer.status == 400
    assert (answer.document["kind"], answer.document["phase"]) == (
        kinds.SCHEDULED_SESSION,
        "FAILED",
    )
    assert "urn:executable-required" in [m["kind"] for m in answer.document["meta"]["messages"]]
