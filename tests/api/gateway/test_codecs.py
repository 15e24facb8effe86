"""JSON, YAML and XML, in and out: the same documents in three forms."""

from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from gateway.wire import kinds
from gateway.wire.codecs.base import Codec
from gateway.wire.codecs.registry import CODECS, JSON, XML, YAML
from gateway.wire.codecs.roots import ROOT_DOCUMENT, ROOT_OFFERSET, ROOT_REQUEST, ROOT_UPDATE
from gateway.wire.documents import Document
from tests.api.gateway.conftest import running_federation
from tests.support.gateway import FEDERATION, GatewayUnderTest
from tests.support.node import ADMIN
from tests.support.node_requests import FULL
from tests.support.problems import problem

UNKNOWN: Final = {"x-lab": {"list": [1, 2.5, "three", None, True, []], "NO": "NO", "1": "1"}}
REQUEST: Final = FULL | {"schedule": {"requested": {"duration": "PT1M"}}} | UNKNOWN
JSON_TYPE, YAML_TYPE, XML_TYPE = (codec.media_type for codec in (JSON, YAML, XML))
IDS: Final = [codec.media_type.rpartition("/")[2] for codec in CODECS]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayUnderTest]:
    async with running_federation(tmp_path, ("alpha",), federation=FEDERATION) as running:
        yield running.gateway


async def exchanged(
    gateway: GatewayUnderTest,
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    content_type: str = JSON_TYPE,
    accept: str | None = None,
    **headers: str,
) -> tuple[int, str, bytes]:
    """Status, media type and body of an answer, whatever its form."""
    given = {**ADMIN.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if body is not None:
        given["Content-Type"] = content_type
    if accept is not None:
        given["Accept"] = accept
    async with gateway.session.request(
        method,
        gateway.url + path,
        data=body,
        headers=given,
        skip_auto_headers=["Accept"],
        allow_redirects=False,
    ) as response:
        assert "Accept" in response.headers.get("Vary", "Accept")
        return response.status, response.content_type, await response.read()


def document_in(codec: Codec, answer: tuple[int, str, bytes], status: int) -> Document:
    assert answer[:2] == (status, codec.media_type), answer[2].decode()
    document: Document = codec.decode(answer[2])
    return document


async def test_every_form_of_a_request_gives_the_same_offer_set_in_every_form_of_answer(
    gateway: GatewayUnderTest,
) -> None:
    expected: Document | None = None
    for written, wanted in product(CODECS, CODECS):
        # One key for all: were any of the documents read differently, this would be a 422.
        answer = await exchanged(
            gateway,
            "POST",
            "/requests",
            body=written.encode(REQUEST, ROOT_REQUEST),
            content_type=written.media_type,
            accept=wanted.media_type,
            Idempotency_Key="the-same-for-all",
        )
        document = document_in(wanted, answer, 303)
        expected = expected or document
        assert document == expected, (written.media_type, wanted.media_type)
    assert expected is not None
    assert expected["result"] == "YES"
    for offer in expected["offers"]:
        assert offer["executable"]["environment"] == REQUEST["executable"]["environment"]
        assert offer["data"][0]["location"] == REQUEST["data"][0]["location"]


@pytest.mark.parametrize("codec", CODECS, ids=IDS)
async def test_unknown_members_come_back_in_every_form_as_they_were_sent(
    gateway: GatewayUnderTest, codec: Codec
) -> None:
    request = REQUEST | {"executable": REQUEST["executable"] | UNKNOWN}
    answer = await exchanged(
        gateway,
        "POST",
        "/requests",
        body=codec.encode(request, ROOT_REQUEST),
        content_type=codec.media_type,
        accept=codec.media_type,
    )
    offer = document_in(codec, answer, 303)["offers"][0]
    assert offer["executable"]["x-lab"] == UNKNOWN["x-lab"]


@pytest.mark.parametrize("codec", CODECS, ids=IDS)
async def test_sessions_components_and_updates_are_the_same_in_every_form(
    gateway: GatewayUnderTest, codec: Codec
) -> None:
    offerset = (await gateway.ask(REQUEST)).document
    uuid = offerset["offers"][0]["meta"]["uuid"]
    paths = [
        f"/offersets/{offerset['meta']['uuid']}",
        f"/sessions/{uuid}",
        offerset["offers"][0]["compute"]["meta"]["url"].removeprefix(gateway.url),
        "/reasons",
    ]
    for path in paths:
        answer = await exchanged(gateway, "GET", path, accept=codec.media_type)
        assert document_in(codec, answer, 200) == (await gateway.call("GET", path)).document
    update = {"kind": kinds.ENUM_UPDATE, "path": "phase", "value": "REJECTED"}
    answer = await exchanged(
        gateway,
        "POST",
        f"/sessions/{uuid}",
        body=codec.encode(update, ROOT_UPDATE),
        content_type=codec.media_type,
        accept=codec.media_type,
    )
    assert document_in(codec, answer, 200)["phase"] == "REJECTED"
    assert (await gateway.read(uuid))["phase"] == "REJECTED"


@pytest.mark.parametrize("codec", CODECS, ids=IDS)
async def test_direct_execution_works_in_every_form(
    gateway: GatewayUnderTest, codec: Codec
) -> None:
    answer = await exchanged(
        gateway,
        "POST",
        "/direct",
        body=codec.encode(REQUEST, ROOT_REQUEST),
        content_type=codec.media_type,
        accept=codec.media_type,
    )
    assert document_in(codec, answer, 303)["kind"] == kinds.SCHEDULED_SESSION
    answer = await exchanged(
        gateway,
        "POST",
        "/direct",
        body=codec.encode({"nothing": True}, ROOT_REQUEST),
        content_type=codec.media_type,
        accept=codec.media_type,
    )
    assert document_in(codec, answer, 400)["phase"] == "FAILED"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, JSON_TYPE),
        ("", JSON_TYPE),
        ("*/*", JSON_TYPE),
        ("text/html, */*;q=0.1", JSON_TYPE),
        ("application/*", JSON_TYPE),
        (YAML_TYPE, YAML_TYPE),
        ("text/yaml", YAML_TYPE),
        ("text/xml", XML_TYPE),
        (f"{XML_TYPE}, {JSON_TYPE}", XML_TYPE),
        (f"{JSON_TYPE};q=0.5, {YAML_TYPE}", YAML_TYPE),
        (f"{JSON_TYPE};q=0.5, {YAML_TYPE};q=0.6, {XML_TYPE};q=0.55", YAML_TYPE),
        (f"*/*;q=0.9, {YAML_TYPE};q=0.1", JSON_TYPE),
        (f"{JSON_TYPE};q=0, */*", XML_TYPE),
        ("application/vnd.example+json", JSON_TYPE),
    ],
)
async def test_the_form_that_the_client_likes_best_is_answered(
    gateway: GatewayUnderTest, accept: str | None, media_type: str
) -> None:
    status, found, _ = await exchanged(gateway, "GET", "/reasons", accept=accept)
    assert (status, found) == (200, media_type)


@pytest.mark.parametrize("accept", ["text/html", "image/*", f"{JSON_TYPE};q=0", "*/*;q=0"])
async def test_a_client_that_likes_none_of_them_is_told_406(
    gateway: GatewayUnderTest, accept: str
) -> None:
    answer = await gateway.call("GET", "/reasons", Accept=accept)
    assert all(codec.media_type in problem(answer, 406)["detail"] for codec in CODECS)


@pytest.mark.parametrize("accept", [YAML_TYPE, XML_TYPE])
async def test_a_problem_is_json_whatever_form_is_liked(
    gateway: GatewayUnderTest, accept: str
) -> None:
    problem(await gateway.call("GET", "/sessions/x", Accept=accept), 400)


@pytest.mark.parametrize(
    "content_type",
    ["application/yaml; charset=utf-8", "text/yaml", "application/x-yaml", "application/yml",
     "application/vnd.example+yaml"],
)  # fmt: skip
async def test_yaml_goes_by_all_its_names(gateway: GatewayUnderTest, content_type: str) -> None:
    status, _, _ = await exchanged(
        gateway,
        "POST",
        "/requests",
        body=YAML.encode(REQUEST, ROOT_REQUEST),
        content_type=content_type,
    )
    assert status == 303


async def test_xml_names_its_roots_as_the_contract_does(gateway: GatewayUnderTest) -> None:
    offerset = (await gateway.ask(REQUEST)).document
    for path, root in (
        (f"/offersets/{offerset['meta']['uuid']}", ROOT_OFFERSET),
        (f"/sessions/{offerset['offers'][0]['meta']['uuid']}", "execution"),
        ("/reasons", ROOT_DOCUMENT),
    ):
        _, _, body = await exchanged(gateway, "GET", path, accept=XML_TYPE)
        assert body.decode().splitlines()[1].startswith(f"<{root}")
