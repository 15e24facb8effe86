"""Lists of offer sets and sessions: whose, which, in which order, page by page."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit
from uuid import uuid4

import pytest

from gateway.httpkit.server_settings import AuthenticationSettings, Reads
from gateway.wire.documents import Document
from tests.api.gateway.conftest import Federation, running_federation
from tests.support.gateway import Answer, GatewayUnderTest
from tests.support.node import ADMIN, ALICE, BOB, Account
from tests.support.problems import pointers, problem
from tests.support.requests import minimal_request


@pytest.fixture
async def federation(tmp_path: Path) -> AsyncIterator[Federation]:
    async with running_federation(tmp_path, ("alpha", "beta")) as running:
        yield running


def named(name: str) -> Document:
    request = minimal_request()
    request["executable"]["meta"] = {"name": name}
    return request


async def asked(gateway: GatewayUnderTest, name: str, account: Account = ALICE) -> Document:
    document: Document = (await gateway.ask(named(name), "?limit=2", account=account)).document
    return document


async def listed(
    gateway: GatewayUnderTest, path: str, account: Account = ALICE
) -> tuple[list[Document], str | None]:
    """The entries, and the path of the next page."""
    answer = await gateway.call("GET", path, account=account)
    assert answer.status == 200, answer.text
    (entries,) = answer.document.values()
    return entries, next_of(answer)


def next_of(answer: Answer) -> str | None:
    link = answer.headers.get("Link")
    if link is None:
        return None
    url, _, relation = link.partition("; ")
    assert relation == 'rel="next"'
    parts = urlsplit(url.strip("<>"))
    return f"{parts.path}?{parts.query}"


def names(entries: list[Document]) -> list[str]:
    return [entry["name"] for entry in entries]


async def test_offer_sets_are_listed_newest_first_with_what_became_of_them(
    federation: Federation,
) -> None:
    gateway = federation.gateway
    first, second = [await asked(gateway, name) for name in ("first", "second")]
    await gateway.move(first["offers"][0]["meta"]["uuid"], "ACCEPTED", account=ALICE)
    entries, following = await listed(gateway, "/offersets")
    assert following is None
    assert names(entries) == ["second", "first"]
    assert entries[0]["phases"] == {"OFFERED": 2}
    assert entries[1]["accepted"] == first["offers"][0]["meta"]["uuid"]
    assert entries[1]["phases"]["REJECTED"] == 1
    assert entries[0]["url"].endswith(f"/offersets/{second['meta']['uuid']}")
    assert names((await listed(gateway, "/offersets?sort=created"))[0]) == ["first", "second"]


async def test_pages_lead_on_and_what_comes_in_meanwhile_repeats_and_hides_nothing(
    federation: Federation,
) -> None:
    gateway = federation.gateway
    for number in range(5):
        await asked(gateway, f"n{number}")
    seen: list[str] = []
    path: str | None = "/offersets?limit=2"
    while path is not None:
        entries, path = await listed(gateway, path)
        seen += names(entries)
        await asked(gateway, "late")
    assert seen == ["n4", "n3", "n2", "n1", "n0"]


async def test_sessions_are_those_that_were_accepted_unless_a_phase_is_asked_for(
    federation: Federation,
) -> None:
    gateway = federation.gateway
    offers = (await asked(gateway, "work"))["offers"]
    accepted = offers[0]["meta"]["uuid"]
    assert (await listed(gateway, "/sessions"))[0] == []
    assert len((await listed(gateway, "/sessions?phase=OFFERED"))[0]) == 2
    await gateway.move(accepted, "ACCEPTED", account=ALICE)
    (entry,), _ = await listed(gateway, "/sessions?sort=-changed")
    assert (entry["uuid"], entry["name"]) == (accepted, offers[0]["meta"].get("name", "work"))
    assert entry["node"] == offers[0]["federation"]["node"]
    other = {"alpha": "beta", "beta": "alpha"}[entry["node"]]
    assert (await listed(gateway, f"/sessions?node={other}"))[0] == []
    assert len((await listed(gateway, f"/sessions?node={entry['node']}"))[0]) == 1
    assert len((await listed(gateway, "/sessions?phase=OFFERED,REJECTED"))[0]) == 1


async def test_lists_are_found_in_by_name_and_time(federation: Federation) -> None:
    gateway = federation.gateway
    for name in ("Cube of Orion", "spectrum", "cube two"):
        await asked(gateway, name)
    assert names((await listed(gateway, "/offersets?name=CUBE"))[0]) == [
        "cube two",
        "Cube of Orion",
    ]
    middle = (await listed(gateway, "/offersets?name=spectrum"))[0][0]["created"]
    since, _ = await listed(gateway, f"/offersets?since={quote(middle)}")
    until, _ = await listed(gateway, f"/offersets?until={quote(middle)}")
    assert names(since) == ["cube two", "spectrum"]
    assert names(until) == ["Cube of Orion"]
    entries, path = await listed(gateway, "/offersets?name=cube&limit=1")
    assert names(entries) == ["cube two"]
    assert path is not None
    assert names((await listed(gateway, path))[0]) == ["Cube of Orion"]


async def test_everybody_sees_their_own_and_the_administrator_all(federation: Federation) -> None:
    gateway = federation.gateway
    await asked(gateway, "hers")
    await asked(gateway, "his", BOB)
    await asked(gateway, "nobodys", ADMIN)
    assert names((await listed(gateway, "/offersets"))[0]) == ["hers"]
    assert names((await listed(gateway, "/offersets", BOB))[0]) == ["his"]
    entries, _ = await listed(gateway, "/offersets", ADMIN)
    assert names(entries) == ["nobodys", "his", "hers"]
    owner = entries[1]["owner"]
    assert names((await listed(gateway, f"/offersets?owner={quote(owner)}", ADMIN))[0]) == ["his"]
    problem(await gateway.call("GET", f"/offersets?owner={quote(owner)}", account=BOB), 403)


@pytest.mark.parametrize("reads", list(Reads))
async def test_no_list_is_for_nobody(tmp_path: Path, reads: Reads) -> None:
    authentication = AuthenticationSettings(reads=reads)
    async with running_federation(tmp_path, ("alpha",), authentication=authentication) as running:
        gateway = running.gateway
        for path in ("/offersets", "/sessions", "/drafts"):
            async with gateway.session.get(gateway.url + path) as response:
                assert response.status == 401


@pytest.mark.parametrize(
    ("query", "at"),
    [
        ("limit=201", "/limit"),
        ("limit=0", "/limit"),
        ("sort=name", "/sort"),
        ("phase=GONE", "/phase/0"),
        ("since=yesterday", "/since"),
        ("cursor=made-up", "/cursor"),
        ("page=2", "/page"),
    ],
)
async def test_what_cannot_be_listed_is_refused_with_the_place(
    federation: Federation, query: str, at: str
) -> None:
    answer = await federation.gateway.call("GET", f"/sessions?{query}")
    assert pointers(problem(answer, 400)) == [at]


async def test_a_cursor_serves_the_list_that_it_is_of(federation: Federation) -> None:
    gateway = federation.gateway
    for name in ("a", "b"):
        await asked(gateway, name)
    _, path = await listed(gateway, "/offersets?limit=1")
    assert path is not None
    answers: Mapping[str, Answer] = {
        other: await gateway.call("GET", path.replace(*change), account=ALICE)
        for other, change in {
            "list": ("/offersets", "/sessions"),
            "filters": ("limit=1", f"name={uuid4()}"),
        }.items()
    }
    for answer in answers.values():
        assert pointers(problem(answer, 400)) == ["/cursor"]
