"""TLS on both sides of the gateway: what it shows to clients, and what it shows to nodes."""

import asyncio
import json
import shutil
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.clients.addresses import AddressGuard
from gateway.clients.node_proving import NodeProver
from gateway.clients.proof import ProvingError
from gateway.clients.trust import fresh_trust, trust_of
from gateway.config import load_gateway_settings
from gateway.httpkit.settings import SettingsError
from gateway.httpkit.tls import TlsSettings, served_with
from gateway.settings import TransportSettings, TransportType
from gateway.wire.certificates import CertificateFiles, FreshCertificates
from tests.support.authority import Authority
from tests.support.gateway import running_gateway
from tests.support.members import CAPABILITIES
from tests.support.node import ADMIN
from tests.support.requests import minimal_request
from tests.support.token_service import PickyNode


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "authority"
    folder.mkdir()
    return Authority(folder)


@asynccontextmanager
async def secure_node(settings: TlsSettings) -> AsyncIterator[PickyNode]:
    """A node that is served as the settings say."""
    node = PickyNode(good={ADMIN.headers["Authorization"]})
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", node.answer)
    async with served_with(settings) as context:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        node.url = f"https://127.0.0.1:{site.port}"
        try:
            yield node
        finally:
            await runner.cleanup()


async def serial_shown(url: str, trust: ssl.SSLContext) -> str:
    """The serial number of the certificate that a server shows to a new connection."""
    host, _, port = url.removeprefix("https://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=trust)
    try:
        found = writer.get_extra_info("ssl_object").getpeercert()
        return str(found["serialNumber"])
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("transport", list(TransportType))
async def test_a_node_that_wants_to_see_a_certificate_is_shown_one(
    authority: Authority, tmp_path: Path, transport: TransportType
) -> None:
    theirs, ours = authority.certify("127.0.0.1"), authority.certify("head.example.org")
    node_tls = TlsSettings(certificate=theirs, client_ca=authority.file)
    async with secure_node(node_tls) as node:
        for certificate, outcome in ((ours, "answered"), (None, None)):
            settings = TransportSettings(
                type=transport, ca_file=authority.file, certificate=certificate
            )
            folder = tmp_path / str(outcome)
            async with running_gateway({"alpha": node.url}, folder, transport=settings) as gateway:
                answer = await gateway.ask(minimal_request())
                if outcome is None:
                    assert answer.status == 503, answer.text
                    [entry] = answer.document["coverage"]
                    assert entry["outcome"] in {"refused", "error"}, entry
                else:
                    [entry] = answer.document["federation"]["coverage"]
                    assert entry["outcome"] == outcome, entry


async def test_a_renewed_certificate_is_shown_without_a_restart(
    authority: Authority, tmp_path: Path
) -> None:
    file = tmp_path / "server.pem"
    shutil.copyfile(authority.certify("127.0.0.1"), file)
    settings = TlsSettings(certificate=file)
    trust = ssl.create_default_context(cafile=authority.file)
    context = settings.context()
    fresh = FreshCertificates(context, settings.files())
    server = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        first = await serial_shown(url, trust)
        fresh.refresh()
        assert await serial_shown(url, trust) == first
        shutil.copyfile(authority.certify("127.0.0.1"), file)
        fresh.refresh()
        second = await serial_shown(url, trust)
        assert second != first
        file.write_text("not a certificate")
        fresh.refresh()
        assert await serial_shown(url, trust) == second, "the last good one stays"
        file.unlink()
        fresh.refresh()
        assert await serial_shown(url, trust) == second


async def test_a_renewed_client_certificate_is_shown_to_nodes(
    authority: Authority, tmp_path: Path
) -> None:
    file = tmp_path / "client.pem"
    shutil.copyfile(authority.certify("head.example.org"), file)
    seen: list[str] = []

    async def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("ssl_object").getpeercert()["serialNumber"])
        writer.close()

    theirs = TlsSettings(certificate=authority.certify("127.0.0.1"), client_ca=authority.file)
    settings = TransportSettings(ca_file=authority.file, certificate=file)
    fresh = fresh_trust(settings)
    server = await asyncio.start_server(look, "127.0.0.1", 0, ssl=theirs.context())
    async with server:
        port = server.sockets[0].getsockname()[1]
        for _ in range(2):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=trust_of(settings), server_hostname="127.0.0.1"
            )
            await reader.read()
            writer.close()
            await writer.wait_closed()
            shutil.copyfile(authority.certify("head.example.org"), file)
            fresh.refresh()
    assert len(set(seen)) == 2


async def test_a_node_that_registers_may_want_to_see_a_certificate_too(
    authority: Authority,
) -> None:
    async def capabilities(_: web.Request) -> web.Response:
        return web.json_response(CAPABILITIES)

    app = web.Application()
    app.router.add_get("/capabilities", capabilities)
    ours = authority.certify("head.example.org")
    theirs = TlsSettings(certificate=authority.certify("127.0.0.1"), client_ca=authority.file)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=theirs.context())
    await site.start()
    try:
        url = f"https://127.0.0.1:{site.port}"
        guard = AddressGuard(may_be_private=True)
        shown = trust_of(TransportSettings(ca_file=authority.file, certificate=ours))
        found = await NodeProver(guard, shown).capabilities(url)
        assert found.capabilities.identity == CAPABILITIES["identity"]
        with pytest.raises(ProvingError):
            await NodeProver(
                guard, trust_of(TransportSettings(ca_file=authority.file))
            ).capabilities(url)
    finally:
        await runner.cleanup()


async def test_the_service_speaks_https_and_says_so(authority: Authority, tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    certificate = authority.certify("127.0.0.1")
    config.write_text(
        yaml.safe_dump(
            {
                "listen": "127.0.0.1:0",
                "authentication": {"enabled": False},
                "tls": {"certificate": str(certificate)},
            }
        )
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve", "--config", str(config)),
        *("--data-dir", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 40)
        url = json.loads(line)["url"]
        assert url.startswith("https://127.0.0.1:")
        trust = ssl.create_default_context(cafile=authority.file)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/livez", ssl=trust) as answer:
                assert answer.status == 200
            with pytest.raises(aiohttp.ClientError):
                await session.get(url.replace("https:", "http:") + "/livez")
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ({"tls": {"certificate": "missing.pem"}}, "missing.pem"),
        ({"tls": {"certificate": "empty.pem"}}, "certificate"),
        ({"tls": {}}, "tls.certificate"),
        ({"transport": {"key": "empty.pem"}}, "transport.key"),
        ({"transport": {"certificate": "empty.pem"}}, "transport"),
    ],
)
def test_files_that_cannot_be_used_are_named_before_anything_starts(
    tmp_path: Path, section: dict[str, object], fault: str
) -> None:
    (tmp_path / "empty.pem").write_text("")
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump(section))
    with pytest.raises(SettingsError) as caught:
        load_gateway_settings(config)
    assert any(fault in one for one in caught.value.faults), caught.value.faults


def test_an_encrypted_key_is_refused_without_asking_anybody(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    certificate = Authority(folder).certify("127.0.0.1")
    key = tmp_path / "key.pem"
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"pass"),
        )
    )
    with pytest.raises(OSError, match="encrypted"):
        CertificateFiles(certificate, key).load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
