"""Bodies, problems, ids, health and metrics of a small application on the HTTP kit."""

import asyncio
import gzip
import json
from typing import Any

import pytest
import structlog
import yaml
from aiohttp import ClientPayloadError, ClientResponse, encode_basic_auth
from aiohttp.test_utils import TestClient
from pytest_aiohttp import AiohttpClient
from structlog.testing import capture_logs

from gateway.httpkit.health import LIFECYCLE
from tests.api.httpkit_app import MAX_BODY_BYTES, Notes, new_notes_app

AUTH = {"Authorization": encode_basic_auth("alice", "wonderland")}
NOTE = {"text": "hello", "surface": {"kind": "urn:paper", "sheets": 2}}
WIRE_TYPES = ["application/json", "application/yaml", "application/xml"]


@pytest.fixture
def notes() -> Notes:
    made = Notes()
    made.add_identity("alice", "wonderland")
    return made


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, notes: Notes) -> TestClient[Any, Any]:
    return await aiohttp_client(new_notes_app(notes))


async def problem_of(response: ClientResponse, status: int, slug: str) -> dict[str, Any]:
    """The problem in an answer, when it is one and says what it should."""
    document: dict[str, Any] = await response.json(content_type="application/problem+json")
    assert response.status == document["status"] == status
    assert document["type"].rpartition("/")[2] == slug
    assert document["title"]
    assert document["instance"] == response.headers["X-Request-Id"]
    return document


async def test_a_document_comes_back_as_it_was_sent_with_unknown_members(
    client: TestClient[Any, Any],
) -> None:
    sent = NOTE | {"unknown": {"a": [1, None]}, "other": {"kind": "urn:sky", "stars": 3}}
    response = await client.post("/notes", json=sent, headers=AUTH)
    assert response.status == 201
    assert response.content_type == "application/json"
    assert response.headers["Vary"] == "Accept"
    document = await response.json()
    assert {name: document[name] for name in sent} == sent
    assert document["url"] == response.headers["Location"]
    again = await client.get(document["url"].removeprefix(str(client.make_url(""))))
    assert await again.json() == document


async def test_yaml_goes_in_and_out(client: TestClient[Any, Any]) -> None:
    headers = {"Content-Type": "application/yaml", "Accept": "application/yaml"}
    response = await client.post("/notes", data=yaml.safe_dump(NOTE), headers=headers | AUTH)
    assert response.status == 201
    assert response.content_type == "application/yaml"
    assert yaml.safe_load(await response.text())["text"] == "hello"


@pytest.mark.parametrize("media_type", WIRE_TYPES)
async def test_json_text_is_answered_in_the_type_that_is_wanted(
    client: TestClient[Any, Any], media_type: str
) -> None:
    made = await (await client.post("/notes", json=NOTE, headers=AUTH)).json()
    response = await client.get(f"/notes/{made['uuid']}", headers={"Accept": media_type})
    assert response.content_type == media_type
    assert made["uuid"] in await response.text()


async def test_what_xml_cannot_carry_is_not_acceptable(client: TestClient[Any, Any]) -> None:
    body = {"text": "a\x01b"}
    made = await (await client.post("/notes", json=body, headers=AUTH)).json()
    path = f"/notes/{made['uuid']}"
    response = await client.get(path, headers={"Accept": "application/xml"})
    document = await problem_of(response, 406, "not-acceptable")
    assert document["detail"] == "The answer can be made as application/json."
    assert (await (await client.get(path)).json())["text"] == "a\x01b"


async def test_a_body_that_breaks_off_harms_nobody(client: TestClient[Any, Any]) -> None:
    writer = (await asyncio.open_connection("127.0.0.1", client.port))[1]
    head = f"POST /notes HTTP/1.1\r\nHost: a\r\nAuthorization: {AUTH['Authorization']}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{{".encode())
    await writer.drain()
    with capture_logs() as logs:
        writer.close()
        await writer.wait_closed()
        assert (await client.get("/livez")).status == 200
    assert not [log for log in logs if log["event"] == "request_failed"]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "slug"),
    [
        (b"", "application/json", 400, "malformed-body"),
        (b" \n", "application/json", 400, "malformed-body"),
        (b"", None, 400, "malformed-body"),
        (b"{", "application/json", 400, "malformed-body"),
        (b"\xff\xfe", "application/json", 400, "malformed-body"),
        (b'{"text": NaN}', "application/json", 400, "malformed-body"),
        (b"a: [1", "application/yaml", 400, "malformed-body"),
        (b"<a><b></a>", "application/xml", 400, "malformed-body"),
        (b"[" * 2000, "application/json", 400, "malformed-body"),
        (b"[]", "application/json", 400, "invalid-document"),
        (b"null", "application/json", 400, "invalid-document"),
        (b"{}", None, 415, "unsupported-media-type"),
        (b"{}", "text/plain", 415, "unsupported-media-type"),
        (b"{}", "application/json; charset=latin-1", 415, "unsupported-media-type"),
        (b"{}", "nonsense", 415, "unsupported-media-type"),
        (b"x" * (MAX_BODY_BYTES + 1), "application/json", 413, "body-too-large"),
    ],
)
async def test_a_body_that_cannot_be_used_is_refused(
    client: TestClient[Any, Any], body: bytes, content_type: str | None, status: int, slug: str
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = await client.post(
        "/notes",
        data=body,
        headers=headers | AUTH,
        skip_auto_headers=["Content-Type"],
    )
    document = await problem_of(response, status, slug)
    if status == 415:
        assert response.headers["Accept"] == "application/json, application/yaml, application/xml"
        assert "application/json" in document["detail"]


async def test_every_fault_is_told_at_once_with_its_pointer(client: TestClient[Any, Any]) -> None:
    body = {"surface": {"kind": "urn:paper", "sheets": "2"}, "other": {"stars": 3}}
    document = await problem_of(
        await client.post("/notes", json=body, headers=AUTH), 400, "invalid-document"
    )
    pointers = {fault["pointer"] for fault in document["errors"]}
    assert pointers == {"/text", "/surface/sheets", "/other/kind"}
    assert all(fault["detail"] for fault in document["errors"])


async def test_a_chunked_body_over_the_limit_is_refused(client: TestClient[Any, Any]) -> None:
    async def chunks() -> Any:
        for _ in range(10):
            yield b"x" * 1000

    response = await client.post(
        "/notes", data=chunks(), headers={"Content-Type": "application/json"} | AUTH
    )
    await problem_of(response, 413, "body-too-large")


async def test_a_compressed_body_counts_by_its_full_size(client: TestClient[Any, Any]) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    response = await client.post(
        "/notes", data=gzip.compress(b" " * 1_000_000), headers=headers | AUTH
    )
    await problem_of(response, 413, "body-too-large")
    response = await client.post("/notes", data=b"no gzip", headers=headers | AUTH)
    await problem_of(response, 400, "malformed-body")


async def test_a_body_of_many_kilobytes_is_read_too(
    aiohttp_client: AiohttpClient, notes: Notes
) -> None:
    app = new_notes_app(notes)
    app._client_max_size = 1_000_000
    client = await aiohttp_client(app)
    response = await client.post("/notes", json={"text": "x" * 100_000}, headers=AUTH)
    assert response.status == 201


async def test_a_body_that_comes_too_slowly_is_given_up(
    client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.httpkit.bodies.BODY_TIMEOUT_S", 0.05)
    never = asyncio.Event()

    async def drip() -> Any:
        yield b"{"
        await never.wait()

    response = await client.post(
        "/notes", data=drip(), headers={"Content-Type": "application/json"} | AUTH
    )
    await problem_of(response, 408, "body-timeout")
    assert response.headers["Connection"] == "close"


async def test_nothing_is_done_when_the_answer_could_not_be_read(
    client: TestClient[Any, Any], notes: Notes
) -> None:
    response = await client.post("/notes", json=NOTE, headers={"Accept": "text/html"} | AUTH)
    await problem_of(response, 406, "not-acceptable")
    assert not notes.notes


async def test_query_parameters_get_their_types(client: TestClient[Any, Any], notes: Notes) -> None:
    await client.post("/notes?limit=3&nodes=a,b&nodes=c", json=NOTE, headers=AUTH)
    assert notes.queries == [{"limit": 3, "nodes": ["a", "b", "c"]}]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=x", "/limit"),
        ("limit=", "/limit"),
        ("limit=10", "/limit"),
        ("limit=1&limit=2", "/limit"),
        ("colour=green", "/colour"),
        ("a%2Fb=1", "/a~1b"),
    ],
)
async def test_a_query_that_cannot_be_is_refused(
    client: TestClient[Any, Any], query: str, pointer: str
) -> None:
    response = await client.post(f"/notes?{query}", json=NOTE, headers=AUTH)
    document = await problem_of(response, 400, "invalid-query")
    assert [fault["pointer"] for fault in document["errors"]] == [pointer]


@pytest.mark.parametrize("text", ["x", "00000000000040008000000000000000", "urn:uuid:x", "%00"])
async def test_a_path_that_should_have_a_uuid_and_has_not_is_refused(
    client: TestClient[Any, Any], text: str
) -> None:
    await problem_of(await client.get(f"/notes/{text}"), 400, "malformed-request")


async def test_what_is_not_there_is_a_404(client: TestClient[Any, Any]) -> None:
    uuid = "00000000-0000-4000-8000-000000000000"
    await problem_of(await client.get(f"/notes/{uuid}"), 404, "not-found")
    await problem_of(await client.get("/nothing"), 404, "not-found")
    await problem_of(await client.post("/nothing", headers=AUTH), 404, "not-found")


async def test_another_method_is_a_405_that_names_the_right_ones(
    client: TestClient[Any, Any],
) -> None:
    response = await client.get("/notes")
    await problem_of(response, 405, "method-not-allowed")
    assert response.headers["Allow"] == "OPTIONS, POST"
    response = await client.delete("/notes", headers=AUTH)
    await problem_of(response, 405, "method-not-allowed")


async def test_head_and_options_behave(client: TestClient[Any, Any]) -> None:
    made = await (await client.post("/notes", json=NOTE, headers=AUTH)).json()
    head = await client.head(f"/notes/{made['uuid']}")
    assert (head.status, await head.read()) == (200, b"")
    assert int(head.headers["Content-Length"]) > 0
    options = await client.options("/notes")
    assert (options.status, options.headers["Allow"]) == (204, "OPTIONS, POST")
    assert (await client.head("/nothing")).status == 404


async def test_a_host_that_is_none_gets_into_no_answer(client: TestClient[Any, Any]) -> None:
    response = await client.post("/notes", json=NOTE, headers={"Host": "a/b"} | AUTH)
    await problem_of(response, 400, "malformed-request")
    response = await client.post("/notes", json=NOTE, headers={"Host": "broker:81"} | AUTH)
    assert response.headers["Location"].startswith("http://broker:81/notes/")


async def test_a_defect_is_a_500_that_tells_nothing_of_its_inside(
    client: TestClient[Any, Any],
) -> None:
    with capture_logs() as logs:
        response = await client.get("/defect")
    document = await problem_of(response, 500, "internal-error")
    assert "hunter2" not in json.dumps(document)
    assert [log["log_level"] for log in logs if log["event"] == "request_failed"] == ["error"]
    await problem_of(await client.get("/late"), 500, "internal-error")


async def test_failures_of_aiohttp_are_problems_too_and_redirects_are_not(
    client: TestClient[Any, Any],
) -> None:
    response = await client.get("/gone")
    document = await response.json(content_type="application/problem+json")
    assert (response.status, document["type"], document["title"]) == (410, "about:blank", "Gone")
    response = await client.get("/moved", allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (303, "/livez")


async def test_a_defect_in_the_middle_of_an_answer_breaks_it_off(
    client: TestClient[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    response = await client.get("/half")
    with pytest.raises(ClientPayloadError):
        await response.read()
    assert "in the middle" in caplog.text


@pytest.mark.parametrize("given", ["abc-1", "!" * 128])
async def test_a_sane_request_id_is_kept(client: TestClient[Any, Any], given: str) -> None:
    response = await client.get("/livez", headers={"X-Request-Id": given})
    assert response.headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "two words", "ü", "x" * 129])
async def test_any_other_request_id_is_replaced(client: TestClient[Any, Any], given: str) -> None:
    response = await client.get("/livez", headers={"X-Request-Id": given})
    assert response.headers["X-Request-Id"] != given
    assert len(response.headers["X-Request-Id"]) == 32


async def test_each_request_is_one_log_event_with_its_owner(
    client: TestClient[Any, Any], notes: Notes
) -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        made = await (await client.post("/notes", json=NOTE, headers=AUTH)).json()
        await client.get(f"/notes/{made['uuid']}", headers={"X-Request-Id": "second"})
        await client.get("/livez")
        await client.get("/who/knows")
    post, get, probe, unmatched = logs
    assert {log["event"] for log in logs} == {"request_done"}
    assert (post["method"], post["route"], post["status"]) == ("POST", "/notes", 201)
    assert post["owner"] == str(notes.identities["alice"].uuid)
    assert post["took_ms"] >= 0
    assert (get["route"], get["request_id"]) == ("/notes/{uuid}", "second")
    assert "owner" not in get
    assert probe["log_level"] == "debug"
    assert unmatched["route"] == "unmatched"


async def test_requests_are_counted_by_route_and_status(client: TestClient[Any, Any]) -> None:
    await client.get("/notes/x")
    await client.get("/notes/y")
    await client.get("/what/ever")
    await client.request("PROPFIND", "/notes", headers=AUTH)
    response = await client.get("/metrics")
    assert response.content_type == "text/plain"
    lines = (await response.text()).splitlines()
    route = "/notes/{uuid}"
    assert f'notes_http_requests_total{{method="GET",route="{route}",status="400"}} 2.0' in lines
    assert f'notes_http_request_seconds_count{{method="GET",route="{route}"}} 2.0' in lines
    assert 'notes_http_requests_total{method="GET",route="unmatched",status="404"} 1.0' in lines
    assert 'notes_http_requests_total{method="other",route="unmatched",status="405"} 1.0' in lines
    assert "notes_http_requests_in_flight 1.0" in lines
    assert any(line.startswith("notes_build_info{") and '"1.2.3"' in line for line in lines)
    assert any(line.startswith("notes_event_loop_lag_seconds_count") for line in lines)


async def test_readiness_names_what_is_missing(aiohttp_client: AiohttpClient, notes: Notes) -> None:
    is_there = True
    hang = asyncio.Event()

    async def check() -> bool:
        return is_there

    async def hanging() -> bool:
        await hang.wait()
        return True

    hang.set()
    client = await aiohttp_client(new_notes_app(notes, checks={"disk": check, "other": hanging}))
    assert (await client.get("/livez")).status == 200
    assert await (await client.get("/readyz")).json() == {"status": "ready"}
    is_there = False
    document = await problem_of(await client.get("/readyz"), 503, "not-ready")
    assert document["detail"] == "Not ready (disk: failed)."
    client.app[LIFECYCLE].begin_draining()
    response = await client.get("/readyz")
    document = await problem_of(response, 503, "not-ready")
    assert "draining" in document["detail"]
    assert response.headers["Connection"] == "close"
    assert (await client.get("/livez")).status == 200


async def test_a_readiness_check_that_hangs_is_given_up(
    aiohttp_client: AiohttpClient, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.httpkit.health.CHECK_TIMEOUT_S", 0.02)

    async def hanging() -> bool:
        return await asyncio.Event().wait()

    client = await aiohttp_client(new_notes_app(notes, checks={"disk": hanging}))
    document = await problem_of(await client.get("/readyz"), 503, "not-ready")
    assert "disk: no answer within 0.02 s" in document["detail"]
