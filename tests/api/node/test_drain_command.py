"""``execbroker-node drain`` and ``resume``, against nodes that run."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.httpkit.listen_address import ListenAddress
from gateway.httpkit.tls import TlsSettings
from node_stub.__main__ import main
from node_stub.drain_command import url_of
from tests.support.authority import Authority
from tests.support.node import (
    ADMIN,
    NodeClient,
    node_process,
    node_settings,
    process_config,
    running_node,
)
from tests.support.requests import minimal_request


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings of the node, as its command reads them."""
    monkeypatch.setenv("NODE_PASSWORD", ADMIN.password)
    return written(tmp_path)


def written(folder: Path, **changes: Any) -> Path:
    settings = {
        "name": "alpha",
        "admin": {"username": ADMIN.login, "password_env": "NODE_PASSWORD"},
        "capacity": {"cores": 2, "memory_gib": 2, "storage_gib": 10},
    }
    file = folder / "node.yaml"
    file.write_text(yaml.safe_dump(settings | changes))
    return file


async def commanded(*arguments: str) -> int:
    return await asyncio.to_thread(main, arguments)


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """The last line of the output; the node that runs in this process logs before it."""
    return json.loads(capsys.readouterr().out.splitlines()[-1])


async def result_at(node: NodeClient) -> str:
    offerset = (await node.call("POST", "/requests", json=minimal_request())).document
    result: str = offerset["result"]
    return result


async def test_a_node_is_drained_and_resumed(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running_node(tmp_path / "node", node_settings()) as node:
        where = ("--config", str(config), "--url", node.url + "/")
        assert await commanded("drain", *where) == 0
        assert said(capsys) == {"draining": True}
        assert await result_at(node) == "NO"
        assert await commanded("resume", *where) == 0
        assert said(capsys) == {"draining": False}
        assert await result_at(node) == "YES"


async def test_a_wrong_password_is_said_and_drains_nothing(
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NODE_PASSWORD", "something else")
    async with running_node(tmp_path / "node", node_settings()) as node:
        assert await commanded("drain", "--config", str(config), "--url", node.url) == 1
        assert "401" in capsys.readouterr().err
        assert await result_at(node) == "YES"


async def test_a_node_that_does_not_run_is_said(
    config: Path, unused_tcp_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    assert await commanded("drain", "--config", str(config), "--url", url) == 1
    assert url in capsys.readouterr().err


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/"])
async def test_what_is_no_url_is_said(
    config: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await commanded("drain", "--config", str(config), "--url", url) == 1
    assert url in capsys.readouterr().err


async def test_what_answers_and_is_no_node_is_said(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await commanded("drain", "--config", str(config), "--url", url) == 1
    assert "no node's answer" in capsys.readouterr().err


async def test_without_a_url_the_settings_say_where_the_node_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NODE_PASSWORD", ADMIN.password)
    async with running_node(tmp_path / "node", node_settings()) as node:
        config = written(tmp_path, public_url=node.url)
        assert await commanded("drain", "--config", str(config)) == 0
        port = int(node.url.rpartition(":")[2])
        config = written(tmp_path, listen=f"0.0.0.0:{port}")
        assert await commanded("resume", "--config", str(config)) == 0
        config = written(tmp_path, listen="127.0.0.1:0")
        assert await commanded("resume", "--config", str(config)) == 2
    assert "--url" in capsys.readouterr().err


async def test_a_node_with_tls_is_told_by_who_trusts_its_authority(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = Authority(tmp_path)
    tls = {"certificate": str(authority.certify("127.0.0.1"))}
    (tmp_path / "node").mkdir()
    async with node_process(tmp_path / "node", process_config(tls=tls)) as node:
        where = ("--config", str(config), "--url", node.url)
        assert await commanded("drain", *where) == 1
        assert await commanded("drain", *where, "--ca-file", str(authority.file)) == 0
        assert await commanded("drain", *where, "--ca-file", str(tmp_path / "none.pem")) == 2


def test_with_tls_the_address_it_listens_on_is_https() -> None:
    settings = replace(
        node_settings(),
        listen=ListenAddress("::", 8443),
        tls=TlsSettings(certificate=Path("node.pem")),
    )
    assert url_of(settings) == "https://[::1]:8443"
