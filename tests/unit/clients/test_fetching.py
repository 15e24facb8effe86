"""Documents that users name by URL: fetched from allowed hosts, within bounds, or not at all."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.clients.fetched import FetchError
from gateway.clients.fetching import MAX_REDIRECTS, Fetcher
from gateway.settings import DiscoverySettings
from tests.unit.clients.test_addresses import Names

LOCAL = DiscoverySettings(import_http=True, import_private=True, import_bytes=64 << 10)
BODY = b"executable: {kind: x}\n"


async def plain(request: web.Request) -> web.StreamResponse:
    match request.match_info["what"]:
        case "file.yaml":
            return web.Response(body=BODY, content_type="text/plain")
        case "empty":
            return web.Response(status=204)
        case "missing":
            return web.Response(status=404)
        case "gzip":
            return web.Response(body=gzip.compress(BODY), headers={"Content-Encoding": "gzip"})
        case "loop":
            return web.Response(status=302, headers={"Location": "/loop"})
        case "there":
            return web.Response(status=302, headers={"Location": request.query["to"]})
        case _:
            raise web.HTTPNotFound


async def huge(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(100):
        await response.write(b"#" * (64 << 10))
    return response


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"#")
        await asyncio.sleep(0.02)


@asynccontextmanager
async def serving() -> AsyncIterator[TestServer]:
    app = web.Application()
    app.router.add_get("/huge", huge)
    app.router.add_get("/drip", drip)
    app.router.add_get("/{what}", plain)
    server = TestServer(app)
    async with server:
        yield server


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    async with serving() as running:
        yield running


def fetcher(server: TestServer, names: Names | None = None, **changes: object) -> Fetcher:
    hosts = (f"127.0.0.1:{server.port}", f"files.example.org:{server.port}")
    settings = replace(LOCAL, import_hosts=hosts)
    return Fetcher(replace(settings, **changes), names)  # type: ignore[arg-type]  # by name


async def why_not(of: Fetcher, url: str) -> str:
    with pytest.raises(FetchError) as caught:
        await of.fetch(url)
    return str(caught.value)


def url_of(server: TestServer, path: str) -> str:
    return f"http://127.0.0.1:{server.port}{path}"


async def test_a_document_comes_with_its_type_and_where_it_really_was(server: TestServer) -> None:
    asked = url_of(server, "/there?to=/file.yaml#fragment")
    found = await fetcher(server).fetch(asked)
    assert found.body == BODY
    assert found.media_type == "text/plain"
    assert found.url == url_of(server, "/file.yaml")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1/x",
        "//127.0.0.1/x",
        "/etc/passwd",
        "",
        "https://",
        "https://[::1",
        "https://h:99999/",
        "data:text/plain,x",
    ],
)
async def test_only_web_addresses_are_fetched(server: TestServer, url: str) -> None:
    text = await why_not(fetcher(server), url)
    assert text in {"only https and http URLs are fetched", "it is no URL"}


async def test_http_is_refused_unless_it_is_allowed(server: TestServer) -> None:
    text = await why_not(fetcher(server, import_http=False), url_of(server, "/file.yaml"))
    assert text == "only https URLs are fetched"


async def test_a_url_with_a_password_or_too_long_is_refused(server: TestServer) -> None:
    url = f"http://me:secret@127.0.0.1:{server.port}/file.yaml"
    text = await why_not(fetcher(server), url)
    assert "secret" not in text
    assert "password" in text
    assert "characters" in await why_not(fetcher(server), url_of(server, "/" + "x" * 3000))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "evil.example.org", "127.0.0.1.nip.io"])
async def test_other_hosts_and_ports_are_refused(server: TestServer, host: str) -> None:
    for netloc in (f"{host}:{server.port}", "127.0.0.1", "127.0.0.1:1"):
        text = await why_not(fetcher(server), f"http://{netloc}/file.yaml")
        assert "none of the hosts" in text


async def test_without_a_list_nothing_is_imported(server: TestServer) -> None:
    text = await why_not(fetcher(server, import_hosts=()), url_of(server, "/file.yaml"))
    assert "discovery.import_hosts" in text


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("http://evil.example.org/x", "none of the hosts"),
        ("http://127.0.0.1/", "none of the hosts"),
        ("file:///etc/passwd", "only https and http"),
        ("http://u:p@127.0.0.1/", "password"),
    ],
)
async def test_a_redirect_is_refused_for_what_a_url_is(
    server: TestServer, target: str, why: str
) -> None:
    assert why in await why_not(fetcher(server), url_of(server, f"/there?to={target}"))


async def test_a_redirect_does_not_reach_another_server(server: TestServer) -> None:
    async with serving() as other:
        found = await fetcher(other).fetch(url_of(other, "/file.yaml"))
        assert found.body == BODY, "it would be there"
        target = url_of(other, "/file.yaml")
        text = await why_not(fetcher(server), url_of(server, f"/there?to={target}"))
    assert "none of the hosts" in text


async def test_redirects_have_an_end(server: TestServer) -> None:
    text = await why_not(fetcher(server), url_of(server, "/loop"))
    assert text == f"it redirects more than {MAX_REDIRECTS} times"


async def test_private_addresses_are_refused_by_number_and_by_name(server: TestServer) -> None:
    names = Names("127.0.0.1")
    public = fetcher(server, names, import_private=False)
    assert "private" in await why_not(public, url_of(server, "/file.yaml"))
    named = f"http://files.example.org:{server.port}/file.yaml"
    assert "private" in await why_not(public, named)
    assert (await fetcher(server, names).fetch(named)).body == BODY


async def test_a_redirect_to_a_metadata_service_is_refused_even_where_private_ones_are_not(
    server: TestServer,
) -> None:
    metadata = fetcher(server, Names("169.254.169.254"))
    named = f"http://files.example.org:{server.port}/file.yaml"
    assert "reserved" in await why_not(metadata, url_of(server, f"/there?to={named}"))


async def test_a_huge_document_is_not_read_to_its_end(server: TestServer) -> None:
    assert "larger than 65536 bytes" in await why_not(fetcher(server), url_of(server, "/huge"))


async def test_a_document_that_drips_is_given_up_in_time(server: TestServer) -> None:
    began = time.monotonic()
    assert "within 0.3 s" in await why_not(fetcher(server, import_s=0.3), url_of(server, "/drip"))
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/missing", "127.0.0.1 answers 404"),
        ("/gzip", "it comes compressed, which was not asked for"),
    ],
)
async def test_what_is_no_plain_answer_is_told(server: TestServer, path: str, text: str) -> None:
    assert await why_not(fetcher(server), url_of(server, path)) == text


async def test_a_host_that_is_away_is_told(server: TestServer) -> None:
    of, url = fetcher(server), url_of(server, "/file.yaml")
    await server.close()
    assert await why_not(of, url) == "127.0.0.1 cannot be reached"
