"""The commands of both services, run as an operator runs them."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import pytest
import yaml

import gateway.__main__
import node_stub.__main__
from gateway.wire.documents import Document

WITHIN_S: Final = 20.0
SECRETS: Final = {"ADMIN_PASSWORD": "hunter2-admin", "ALPHA_PASSWORD": "hunter2-alpha"}
ADMIN: Final = {"username": "admin", "password_env": "ADMIN_PASSWORD"}
SETTINGS: Final[Mapping[str, Document]] = {
    "gateway": {
        "listen": "127.0.0.1:0",
        "admin": ADMIN,
        "nodes": [
            {
                "name": "alpha",
                "url": "http://127.0.0.1:1",
                "credentials": {
                    "type": "basic",
                    "username": "head",
                    "password_env": "ALPHA_PASSWORD",
                },
            }
        ],
    },
    "node_stub": {
        "listen": "127.0.0.1:0",
        "name": "alpha",
        "admin": ADMIN,
        "capacity": {"cores": 2, "memory_gib": 2, "storage_gib": 10},
    },
}
MAIN: Final = {"gateway": gateway.__main__.main, "node_stub": node_stub.__main__.main}

pytestmark = pytest.mark.parametrize("package", ["gateway", "node_stub"])


@pytest.fixture
def config(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file of the service, and its secrets in the environment."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(SETTINGS[package]))
    return file


@dataclass(slots=True)
class Serving:
    """A service in a process of its own."""

    process: asyncio.subprocess.Process
    url: str

    async def ends(self) -> tuple[int, str]:
        """Exit status, and what else came on standard output."""
        async with asyncio.timeout(WITHIN_S):
            output, _ = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, output.decode()


@asynccontextmanager
async def serving(package: str, config: Path, *arguments: str) -> AsyncIterator[Serving]:
    with (config.parent / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", package, "serve", "--config", str(config), *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env={**os.environ, **SECRETS},
        )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(WITHIN_S):
            line = await process.stdout.readline()
        assert line, (config.parent / "log").read_text()
        listening = json.loads(line)
        assert listening["event"] == "listening"
        yield Serving(process, listening["url"])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serve_says_where_first_and_ends_with_0_when_told(
    package: str, config: Path, number: signal.Signals
) -> None:
    data_dir = config.parent / "data"
    async with serving(package, config, "--data-dir", str(data_dir)) as service:
        port = int(service.url.rpartition(":")[2])
        assert service.url == f"http://127.0.0.1:{port}"
        assert port > 0
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{service.url}/readyz") as answer,
        ):
            assert answer.status == 200
        service.process.send_signal(number)
        assert await service.ends() == (0, "")
    assert [file.name for file in config.parent.glob("data/*.db")]
    assert "hunter2" not in (config.parent / "log").read_text()


def with_listen(package: str, config: Path, listen: str) -> Path:
    """The settings with another place to listen."""
    config.write_text(yaml.safe_dump(SETTINGS[package] | {"listen": listen}))
    return config


async def test_listen_on_the_command_line_goes_before_the_file(package: str, config: Path) -> None:
    config = with_listen(package, config, "127.0.0.1:1")
    arguments = ("--listen", "127.0.0.1:0", "--data-dir", str(config.parent))
    async with serving(package, config, *arguments) as service:
        assert not service.url.endswith(":1")


async def test_a_port_that_is_taken_ends_with_1_and_says_so(package: str, config: Path) -> None:
    async with serving(package, config, "--data-dir", str(config.parent)) as service:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", package, "serve", "--config", str(config)),
            *("--listen", service.url.removeprefix("http://")),
            *("--data-dir", str(config.parent / "other")),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **SECRETS},
        )
        async with asyncio.timeout(WITHIN_S):
            output, errors = await process.communicate()
    assert (process.returncode, output) == (1, b"")
    assert b"cannot_listen" in errors
    assert b"Traceback" not in errors


def test_check_config_prints_what_is_in_force_without_secrets(
    package: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert MAIN[package](["check-config", "--config", str(config)]) == 0
    output = capsys.readouterr().out
    shown = json.loads(output)
    assert shown["listen"] == "127.0.0.1:0"
    assert shown["admin"]["username"] == "admin"
    assert shown["max_body_bytes"] > 0
    assert "hunter2" not in output


def test_openapi_prints_the_document_that_is_served(
    package: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert MAIN[package](["openapi", "--config", str(config)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["openapi"].startswith("3.1.")
    assert {"/requests", "/direct", "/sessions/{uuid}"} <= set(document["paths"])


@pytest.mark.parametrize("command", ["check-config", "serve", "openapi"])
def test_settings_that_cannot_be_used_end_with_2_and_every_fault(
    package: str, command: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {"listen": "nowhere", "colour": "blue", "drain_s": -1}
    config.write_text(yaml.safe_dump(SETTINGS[package] | wrong))
    assert MAIN[package]([command, "--config", str(config)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    for name in wrong:
        assert name in captured.err
    assert "hunter2" not in captured.err


def test_a_secret_that_is_not_set_ends_with_2_and_its_name(
    package: str,
    config: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ADMIN_PASSWORD")
    assert MAIN[package](["check-config", "--config", str(config)]) == 2
    assert "ADMIN_PASSWORD" in capsys.readouterr().err


def test_a_place_to_listen_that_is_none_is_refused_in_the_words_of_the_settings(
    package: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        MAIN[package](["serve", "--config", str(config), "--listen", "8080"])
    assert ended.value.code == 2
    assert "--listen: must be HOST:PORT, for example 127.0.0.1:8080" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["serve"], ["fly"], ["serve", "--listen", "x"]])
def test_arguments_that_make_no_sense_end_with_2_and_the_usage(
    package: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        MAIN[package](arguments)
    assert ended.value.code == 2
    assert "usage: execbroker-" in capsys.readouterr().err
