"""Who may do what, and what a caller without the right credentials learns: nothing."""

import base64
from typing import Any, Literal
from uuid import UUID

import pytest
from aiohttp import encode_basic_auth
from aiohttp.test_utils import TestClient
from argon2 import PasswordHasher
from pytest_aiohttp import AiohttpClient
from structlog.testing import capture_logs

from gateway.httpkit.server_settings import AuthenticationSettings, Reads
from tests.api.httpkit_app import CHEAP_HASHER, Notes, new_notes_app
from tests.api.test_httpkit import NOTE, problem_of

NOBODY = "/notes/00000000-0000-4000-8000-000000000000"
PUBLIC_READS = AuthenticationSettings()
OWNER_READS = AuthenticationSettings(reads=Reads.OWNER)
OFF = AuthenticationSettings(enabled=False)


class CountingHasher(PasswordHasher):
    """Cheap, and counts what it verified."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.count = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
        self.count += 1
        return super().verify(hash, password)


def basic(username: str, password: str) -> dict[str, str]:
    return {"Authorization": encode_basic_auth(username, password)}


def raw(token: bytes, scheme: str = "Basic") -> dict[str, str]:
    return {"Authorization": f"{scheme} {base64.b64encode(token).decode()}"}


ALICE = basic("alice", "wonderland")
ADMIN = basic("admin", "admin-password")


@pytest.fixture
def notes() -> Notes:
    made = Notes()
    made.add_identity("alice", "wonderland")
    made.add_identity("zoë", "pässwörd: with colon")
    return made


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, notes: Notes) -> TestClient[Any, Any]:
    return await aiohttp_client(new_notes_app(notes))


async def test_writing_needs_credentials_and_reading_does_not(
    client: TestClient[Any, Any],
) -> None:
    response = await client.post("/notes", json=NOTE)
    await problem_of(response, 401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == 'Basic realm="Realm"'
    assert (await client.get(NOBODY)).status == 404


@pytest.mark.parametrize(
    "headers",
    [
        basic("alice", "wrong"),
        basic("nobody", "wonderland"),
        basic("admin", "wrong"),
        basic("", ""),
        raw(b"alice"),
        raw(b"alice:wonder\x00land"),
        raw(b"alice\n:wonderland"),
        raw(b"\xff\xfe:x"),
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic YWxpY2U6d29uZGVybGFu ZA=="},
        {"Authorization": ""},
    ],
    ids=str,
)
async def test_bad_credentials_are_refused_even_on_a_public_read(
    client: TestClient[Any, Any], headers: dict[str, str]
) -> None:
    response = await client.get(NOBODY, headers=headers)
    await problem_of(response, 401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == 'Basic realm="Realm"'
    assert (await client.get("/livez", headers=headers)).status == 200


async def test_a_token_of_no_sort_that_is_known_is_refused_as_a_token(
    client: TestClient[Any, Any],
) -> None:
    headers = raw(b"alice:wonderland", scheme="Bearer")
    response = await client.get(NOBODY, headers=headers)
    await problem_of(response, 401, "invalid-token")
    tried, other = response.headers.getall("WWW-Authenticate")
    assert tried.startswith('Bearer realm="Realm", error="invalid_token"')
    assert other == 'Basic realm="Realm"'
    assert (await client.get("/livez", headers=headers)).status == 200


async def test_two_sets_of_credentials_are_refused(client: TestClient[Any, Any]) -> None:
    headers = [*ALICE.items(), *ADMIN.items()]
    await problem_of(await client.get(NOBODY, headers=headers), 401, "unauthorized")


@pytest.mark.parametrize(
    "headers", [ALICE, {"Authorization": f"bASIC  {ALICE['Authorization'][6:]}"}]
)
async def test_right_credentials_make_their_bearer_the_owner(
    client: TestClient[Any, Any], notes: Notes, headers: dict[str, str]
) -> None:
    response = await client.post("/notes", json=NOTE, headers=headers)
    assert (await response.json())["owner"] == str(notes.identities["alice"].uuid)


async def test_names_and_passwords_are_utf8(client: TestClient[Any, Any], notes: Notes) -> None:
    headers = raw("zoë:pässwörd: with colon".encode())
    response = await client.post("/notes", json=NOTE, headers=headers)
    assert (await response.json())["owner"] == str(notes.identities["zoë"].uuid)


async def test_the_administrator_owns_nothing(client: TestClient[Any, Any]) -> None:
    response = await client.post("/notes", json=NOTE, headers=ADMIN)
    assert response.status == 201
    assert (await response.json())["owner"] is None


async def test_without_an_administrator_nobody_is_one(
    aiohttp_client: AiohttpClient, notes: Notes
) -> None:
    client = await aiohttp_client(new_notes_app(notes, admin=None))
    await problem_of(await client.get(NOBODY, headers=ADMIN), 401, "unauthorized")


async def test_time_does_not_tell_which_names_exist(
    aiohttp_client: AiohttpClient, notes: Notes
) -> None:
    hasher = CountingHasher()
    client = await aiohttp_client(new_notes_app(notes, hasher=hasher))
    for name in ("alice", "nobody", "admin"):
        before = hasher.count
        response = await client.get(NOBODY, headers=basic(name, "wrong"))
        document = await problem_of(response, 401, "unauthorized")
        assert hasher.count == before + 1
        assert document["detail"] == "The credentials are wrong."


async def test_a_verified_password_is_not_hashed_on_every_call(
    aiohttp_client: AiohttpClient, notes: Notes
) -> None:
    hasher = CountingHasher()
    client = await aiohttp_client(new_notes_app(notes, hasher=hasher))
    for _ in range(5):
        assert (await client.get(NOBODY, headers=ALICE)).status == 404
    assert hasher.count == 1


async def test_credentials_are_in_no_log(client: TestClient[Any, Any]) -> None:
    with capture_logs() as logs:
        await client.get(NOBODY, headers=ALICE)
        await client.get(NOBODY, headers=basic("alice", "wrong"))
        await client.post(
            "/admin/identities", json={"username": "bob", "password": "builder"}, headers=ADMIN
        )
    text = repr(logs)
    assert "wonderland" not in text
    assert "wrong" not in text
    assert "builder" not in text
    assert ALICE["Authorization"][6:] not in text


async def test_reads_can_be_kept_to_those_who_say_who_they_are(
    aiohttp_client: AiohttpClient, notes: Notes
) -> None:
    client = await aiohttp_client(new_notes_app(notes, authentication=OWNER_READS))
    await problem_of(await client.get(NOBODY), 401, "unauthorized")
    assert (await client.get(NOBODY, headers=ALICE)).status == 404
    for path in ("/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/start.js"):
        assert (await client.get(path)).status == 200


async def test_with_authentication_off_everybody_is_the_same_owner(
    aiohttp_client: AiohttpClient, notes: Notes
) -> None:
    client = await aiohttp_client(new_notes_app(notes, authentication=OFF))
    for headers in ({}, basic("alice", "wrong")):
        response = await client.post("/notes", json=NOTE, headers=headers)
        assert (response.status, (await response.json())["owner"]) == (201, "anonymous")
    new = {"username": "bob", "password": "builder"}
    response = await client.post("/admin/identities", json=new, headers=ADMIN)
    await problem_of(response, 403, "forbidden")


async def test_an_identity_made_by_the_administrator_can_be_used(
    client: TestClient[Any, Any],
) -> None:
    new = {"username": "böb", "password": "builder"}
    response = await client.post("/admin/identities", json=new, headers=ADMIN)
    document = await response.json()
    assert (response.status, response.content_type) == (201, "application/json")
    assert set(document) == {"uuid", "username"}
    assert str(UUID(document["uuid"])) == document["uuid"]
    response = await client.post("/notes", json=NOTE, headers=raw("böb:builder".encode()))
    assert (await response.json())["owner"] == document["uuid"]


async def test_only_the_administrator_makes_identities(client: TestClient[Any, Any]) -> None:
    new = {"username": "bob", "password": "builder"}
    response = await client.post("/admin/identities", json=new)
    await problem_of(response, 401, "unauthorized")
    response = await client.post("/admin/identities", json=new, headers=ALICE)
    await problem_of(response, 403, "forbidden")
    response = await client.put("/admin/identities", headers=ADMIN)
    await problem_of(response, 405, "method-not-allowed")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"username": " ", "password": "x"}, "username is required"),
        ({"username": "", "password": ""}, "username is required"),
        ({"password": "x"}, "username is required"),
        ({"username": "bob", "password": " \t"}, "password is required"),
        ({"username": "bob"}, "password is required"),
    ],
)
async def test_a_blank_name_or_password_is_refused_in_the_upstream_words(
    client: TestClient[Any, Any], body: dict[str, Any], error: str
) -> None:
    response = await client.post("/admin/identities", json=body, headers=ADMIN)
    document = await problem_of(response, 400, "blank-identity")
    assert document["error"] == error


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("username", "a:b"),
        ("username", "a\nb"),
        ("username", "ab\n"),
        ("username", "x" * 256),
        ("username", 3),
        ("username", None),
        ("password", "a\x00b"),
        ("password", "x" * 1025),
    ],
)
async def test_what_basic_cannot_carry_is_refused(
    client: TestClient[Any, Any], notes: Notes, member: str, value: object
) -> None:
    body = {"username": "bob", "password": "builder"} | {member: value}
    response = await client.post("/admin/identities", json=body, headers=ADMIN)
    document = await problem_of(response, 400, "invalid-document")
    assert [fault["pointer"] for fault in document["errors"]] == [f"/{member}"]
    assert "bob" not in notes.identities


async def test_a_name_that_is_taken_is_a_409_that_says_by_whom(
    client: TestClient[Any, Any], notes: Notes
) -> None:
    new = {"username": "alice", "password": "builder"}
    response = await client.post("/admin/identities", json=new, headers=ADMIN)
    document = await problem_of(response, 409, "duplicate-identity")
    assert document["error"] == "username already exists"
    assert document["uuid"] == str(notes.identities["alice"].uuid)
    assert document["username"] == "alice"
    new = {"username": "admin", "password": "builder"}
    response = await client.post("/admin/identities", json=new, headers=ADMIN)
    document = await problem_of(response, 409, "duplicate-identity")
    assert "uuid" not in document


async def test_a_name_taken_meanwhile_is_a_409_too(
    client: TestClient[Any, Any], notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find_nobody(_username: str) -> None:
        return None

    monkeypatch.setattr(notes, "find", find_nobody)
    new = {"username": "alice", "password": "builder"}
    response = await client.post("/admin/identities", json=new, headers=ADMIN)
    document = await problem_of(response, 409, "duplicate-identity")
    assert document["uuid"] == str(notes.identities["alice"].uuid)


async def test_identities_are_made_from_json_alone(client: TestClient[Any, Any]) -> None:
    headers = ADMIN | {"Content-Type": "application/yaml"}
    response = await client.post("/admin/identities", data=b"username: bob", headers=headers)
    await problem_of(response, 415, "unsupported-media-type")
    assert response.headers["Accept"] == "application/json"


def test_the_hash_of_an_identity_is_not_shown() -> None:
    identity = Notes().add_identity("alice", "wonderland")
    assert "argon2" not in repr(identity)
    assert CHEAP_HASHER.verify(identity.password_hash, "wonderland")
