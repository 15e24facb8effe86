"""Attempts on a node through the data that it fetches: all refused, nothing reached, none for ever.

Issue 3, "It is done when" 3. The node under attack and its archives are real and on loopback. Where
a test needs a public address, 127.0.0.1 is taken for one, by rules that judge every other address
as usual; what must not be reached listens on 127.0.0.2.
"""

import asyncio
import gzip
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway.wire import kinds
from node_stub.staging.allowlist import UrlRules
from node_stub.staging.client import ClientLimits, GuardedClient, translated
from node_stub.staging.errors import RefusedError, TransientError
from node_stub.staging.guard import AddressRefusedError, GuardedResolver, guarded_connector
from node_stub.staging.settings import StagingSettings
from tests.unit.node.staging.archive import running_archive, serving
from tests.unit.node.staging.sessions import (
    in_thread,
    loopback,
    resource,
    running_stager,
    session,
    simple,
    staged,
    staged_file,
    why_not,
    workspace_in,
)

LIMITS: Final = ClientLimits(connect_timeout_s=2, idle_timeout_s=2, max_redirects=3)
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class OneIsPublic(UrlRules):
    """Rules for which 127.0.0.1 is a public address, and all others are what they are."""

    def check_address(self, host: str, address: str) -> None:
        if address != "127.0.0.1":
            UrlRules.check_address(self, host, address)


PUBLIC: Final = OneIsPublic(schemes=frozenset({"http"}), hosts=("*",))


class Names(AbstractResolver):
    """Resolves every name as a test says; each answer is given once, the last for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.is_closed = False

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - declared so by its base
    ) -> list[ResolveResult]:
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0
            )
            for address in addresses
        ]

    async def close(self) -> None:
        self.is_closed = True


@asynccontextmanager
async def inner_service() -> AsyncIterator[list[str]]:
    """What must not be reached, on 127.0.0.2; its URL, and after that every path asked for."""
    seen: list[str] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        seen.append(request.path)
        return web.Response(text="secret")

    server = web.Server(handle)
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.2", 0)
    await site.start()
    seen.append(f"http://127.0.0.2:{runner.addresses[0][1]}")
    try:
        yield seen
    finally:
        await runner.cleanup()


async def get(url: str, rules: UrlRules, resolver: AbstractResolver | None = None) -> bytes:
    """What the guarded client gets, with all that it checks before."""
    client = GuardedClient(rules, LIMITS, resolver)
    await client.open()
    try:
        async with client.request("GET", rules.check(url), {}) as response:
            with translated(response.url):
                return await response.read()
    finally:
        await client.close()


async def test_the_guard_lets_through_what_it_should() -> None:
    async with running_archive() as archive:
        url = URL(archive.add("/f", b"x"))

        assert await get(str(url), PUBLIC) == b"x"
        named = str(url.with_host("public.example.org"))
        assert await get(named, PUBLIC, Names(["127.0.0.1"])) == b"x"
        names = Names(["127.0.0.2", "127.0.0.1"])
        assert await get(named, PUBLIC, names) == b"x"
        assert names.is_closed


async def test_a_redirect_to_a_private_address_is_not_followed() -> None:
    async with running_archive() as archive, inner_service() as seen:
        archive.redirects["/f"] = f"{seen[0]}/admin"

        with pytest.raises(RefusedError, match=r"127\.0\.0\.2"):
            await get(f"{archive.url}/f", PUBLIC)

        assert seen[1:] == []


async def test_a_redirect_to_a_name_with_a_private_address_is_not_followed() -> None:
    async with running_archive() as archive, inner_service() as seen:
        archive.redirects["/f"] = f"{seen[0].replace('127.0.0.2', 'intranet.example.org')}/admin"

        with pytest.raises(RefusedError, match=r"intranet\.example\.org.*127\.0\.0\.2"):
            await get(f"{archive.url}/f", PUBLIC, Names(["127.0.0.2"]))

        assert seen[1:] == []


async def test_a_name_with_a_private_address_is_not_connected_to() -> None:
    async with inner_service() as seen:
        url = seen[0].replace("127.0.0.2", "public.example.org")

        for addresses in (["127.0.0.2"], ["127.0.0.2", "10.0.0.1"], ["::ffff:127.0.0.2"]):
            with pytest.raises(RefusedError, match=r"public\.example\.org"):
                await get(url, PUBLIC, Names(addresses))

        assert seen[1:] == []


async def test_a_name_that_changes_its_address_gains_nothing() -> None:
    async with inner_service() as seen:
        port = URL(seen[0]).port
        # The first answer is public, and nothing listens there at this port.
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        url = f"http://rebinding.example.org:{port}/"

        with pytest.raises(TransientError):
            await get(url, PUBLIC, names)
        with pytest.raises(RefusedError):
            await get(url, PUBLIC, names)

        assert seen[1:] == []


async def test_no_socket_is_made_for_an_address_that_passed_no_resolver() -> None:
    connector = guarded_connector(PUBLIC, GuardedResolver(Names(["127.0.0.1"]), PUBLIC))
    make = connector._socket_factory
    assert make is not None
    for address in ("127.0.0.2", "10.0.0.1", "169.254.169.254"):
        with pytest.raises(AddressRefusedError):
            make((socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)))
    with pytest.raises(AddressRefusedError):
        make((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 80, 0, 0)))
    make((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))).close()
    await connector.close()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "localhost",
        "LOCALHOST.",
    ],
)
async def test_no_spelling_of_loopback_is_fetched_from(tmp_path: Path, host: str) -> None:
    async with running_archive() as archive:
        port = URL(archive.add("/f", b"x")).port
        settings = loopback(private_addresses=False, attempts=1)

        await why_not(tmp_path, session(simple(f"http://{host}:{port}/f")), settings)

        assert archive.asked == []


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/f",
        "https://user:hunter2@127.0.0.1/f",
        "http://127.0.0.1:1\\@evil.org/",
        "//169.254.169.254/x",
        "http:///f",
    ],
)
async def test_a_redirect_leads_to_nothing_that_may_not_be_asked_for(
    tmp_path: Path, target: str
) -> None:
    async with running_archive() as archive:
        archive.redirects["/f"] = target
        settings = loopback(schemes=("http", "https", "file"), file_roots=("/etc",))

        text = await why_not(tmp_path, session(simple(f"{archive.url}/f")), settings)

        assert len(archive.asked) == 1
        assert "hunter2" not in text


async def test_a_redirect_to_another_host_than_allowed_is_not_followed(tmp_path: Path) -> None:
    async with running_archive() as archive, running_archive() as other:
        archive.redirects["/f"] = other.url.replace("127.0.0.1", "localhost") + "/f"

        text = await why_not(
            tmp_path, session(simple(f"{archive.url}/f")), loopback(hosts=("127.0.0.1",))
        )

        assert "The host [localhost] is not allowed" in text
        assert other.asked == []


async def test_a_redirect_loop_comes_to_an_end(tmp_path: Path) -> None:
    async with running_archive() as archive:
        archive.redirects |= {"/a": "/b", "/b": f"{archive.url}/a"}

        text = await why_not(tmp_path, session(simple(f"{archive.url}/a")))

        assert "Redirected more than 5 times" in text
        assert len(archive.asked) == 6


async def test_nothing_of_the_site_is_given_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    async with running_archive() as archive, running_archive() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        archive.redirects["/a"] = "/f"
        archive.add("/f", b"x", headers={"Set-Cookie": "a=b"})
        async with running_stager(tmp_path, loopback()) as stager:
            for _ in range(2):
                document = session(simple(f"{archive.url}/a"))
                assert (await staged(stager, workspace_in(tmp_path), document)).is_ready

        assert proxy.asked == []
        for headers in archive.headers:
            assert not {"Authorization", "Cookie", "Referer", "Proxy-Authorization"} & set(headers)


async def endless(request: web.Request) -> web.StreamResponse:
    """Sends for ever, and never says how much."""
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65536)


async def test_a_file_without_length_is_cut_off_at_the_limit(tmp_path: Path) -> None:
    settings = loopback(max_file_gib=0.01)
    async with serving(endless) as url:
        text = await why_not(tmp_path, session(simple(f"{url}/f")), settings)

    assert "larger than this site fetches [10737418]" in text
    assert await in_thread(lambda: list(tmp_path.rglob("*.part"))) == []


async def test_a_file_without_length_is_cut_off_at_its_storage(tmp_path: Path) -> None:
    async with serving(endless) as url:
        text = await why_not(tmp_path, session(simple(f"{url}/f"), size_gib=0))

    assert "does not fit its storage" in text


async def test_a_file_that_says_it_is_too_large_is_not_even_begun(tmp_path: Path) -> None:
    async with running_archive() as archive:
        url = archive.add("/f", b"x" * (12 * MIB), drip_s=1.0)

        text = await why_not(tmp_path, session(simple(url)), loopback(max_file_gib=0.01))

        assert f"A file of [{12 * MIB}] bytes" in text


@pytest.mark.parametrize(
    ("settings", "drip_s", "text"),
    [
        (loopback(file_timeout_s=0.3), 0.01, "not within 0.3 s"),
        (loopback(idle_timeout_s=0.2, attempts=1), 60.0, "no answer in time"),
    ],
)
async def test_a_server_that_drips_or_falls_silent_is_left(
    tmp_path: Path, settings: StagingSettings, drip_s: float, text: str
) -> None:
    async with running_archive() as archive:
        url = archive.add("/f", b"x" * 10_000, drip_s=drip_s)
        began = asyncio.get_running_loop().time()

        assert text in await why_not(tmp_path, session(simple(url)), settings)

        assert asyncio.get_running_loop().time() - began < 5


async def test_a_server_that_drips_leaves_time_for_the_next_replica(tmp_path: Path) -> None:
    settings = loopback(file_timeout_s=1.0)
    async with running_archive() as archive, running_stager(tmp_path, settings) as stager:
        replicas = [
            {"dataurl": archive.add("/a/f1", b"x" * 10_000, drip_s=0.01)},
            {"dataurl": archive.add("/b/f1", b"x" * 10_000)},
        ]
        data = resource(kinds.SKAO_DATA, skao={"objectname": "f1", "replicas": replicas})
        workspace = workspace_in(tmp_path)

        assert (await staged(stager, workspace, session(data))).is_ready


async def test_a_packed_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(b"\0" * (64 * MIB))
    async with running_archive() as archive:
        url = archive.add("/f", bomb, headers={"Content-Encoding": "gzip"})
        kept = archive.add("/f.gz", bomb, headers={"Content-Encoding": "gzip"})

        assert "packed with gzip" in await why_not(tmp_path, session(simple(url)))
        async with running_stager(tmp_path, loopback()) as stager:
            workspace = workspace_in(tmp_path)
            await staged(stager, workspace, session(simple(kept)))
            assert staged_file(workspace, "f.gz").stat().st_size == len(bomb)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/..%2f..%2f..%2fescaped", ".._.._.._escaped"),
        ("/a/%2e%2e", "__"),
        ("/%2fetc%2fpasswd", "_etc_passwd"),
        ("/-rf", "_rf"),
        ("/a%0ab%1bc", "a_b_c"),
        ("/$(touch%20x)%60y%60", "_(touch x)_y_"),
        ("/a%00b", "a_b"),
    ],
)
async def test_no_name_leads_anywhere_or_does_anything(
    tmp_path: Path, path: str, name: str
) -> None:
    async with running_archive() as archive, running_stager(tmp_path, loopback()) as stager:
        workspace = workspace_in(tmp_path)
        url = archive.add(path, b"x")

        state = await staged(stager, workspace, session(simple(url, name="../../../" + name)))

        assert state.failure is None, state.failure
        (file,) = [found for found in workspace.storage.rglob("*") if found.is_file()]
        assert file.name == name
        assert file.parent.parent.parent == workspace.storage


async def test_a_name_of_300_bytes_is_shortened(tmp_path: Path) -> None:
    async with running_archive() as archive, running_stager(tmp_path, loopback()) as stager:
        workspace = workspace_in(tmp_path)
        url = archive.add("/" + "x" * 300 + ".fits", b"x")

        state = await staged(stager, workspace, session(simple(url, name="y" * 300)))

        assert state.failure is None
        (file,) = [found for found in workspace.storage.rglob("*") if found.is_file()]
        assert file.suffix == ".fits"


async def test_secrets_in_urls_are_not_told(tmp_path: Path) -> None:
    async with running_archive() as archive:
        archive.redirects["/r"] = "http://169.254.169.254/x?X-Amz-Signature=secret"
        for path in ("/none?X-Amz-Signature=secret", "/r?sig=secret"):
            text = await why_not(tmp_path, session(simple(f"{archive.url}{path}")))
            assert "secret" not in text


async def test_a_garbled_server_costs_only_its_own_file(tmp_path: Path) -> None:
    async def garble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(os.urandom(4096))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(garble, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        text = await why_not(tmp_path, session(simple(f"http://127.0.0.1:{port}/f")))
    assert "not HTTP" in text or "connection was lost" in text
