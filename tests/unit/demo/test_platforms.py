"""What the demo's nodes run on: sections of settings that a node takes, whatever the machine."""

import io
import socket
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli.demo.engine import Image, root_files, socket_of
from gateway.cli.demo.errors import DemoError
from gateway.cli.demo.platforms import PlatformName, docker_section, local_section, software_paths
from gateway.cli.demo.settings import NODES, gateway_settings, node_settings
from gateway.config import load_gateway_settings
from gateway.wire.documents import Document
from node_stub.config import NodeSettings, load_node_settings
from node_stub.platforms.docker.settings import DockerSettings
from node_stub.platforms.local.settings import LocalSettings

IMAGE = Image("localhost/demo:latest", f"sha256:{'0' * 64}")


def node_of(name: str, platform: Document, directory: Path) -> NodeSettings:
    settings = node_settings(name, platform, "a password")
    file = directory / f"{name}.yaml"
    file.write_text(yaml.safe_dump(settings.document))
    return load_node_settings(file, settings.environ)


@pytest.mark.parametrize("name", NODES)
def test_a_node_takes_the_settings_for_processes(name: str, tmp_path: Path) -> None:
    node = node_of(name, local_section(), tmp_path)
    assert isinstance(node.platform, LocalSettings)
    assert node.platform.notebook is not None
    assert node.platform.notebook.python == sys.executable
    assert node.staging.hosts == ("127.0.0.1",)


@pytest.mark.parametrize("name", NODES)
def test_a_node_takes_the_settings_for_containers(name: str, tmp_path: Path) -> None:
    section = docker_section("/run/engine.sock", f"0a1b2c3d.{name}", IMAGE)
    node = node_of(name, section, tmp_path)
    assert isinstance(node.platform, DockerSettings)
    assert node.platform.socket_path == "/run/engine.sock"
    assert node.platform.label == f"org.execbroker.demo.0a1b2c3d.{name}"
    assert node.platform.notebook is not None
    assert node.platform.notebook.digest == IMAGE.id
    assert {mount.source for mount in node.platform.site_mounts} >= {"/usr"}


def test_the_gateway_takes_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = {name: f"http://127.0.0.1:{port}" for port, name in enumerate(NODES, start=1000)}
    settings = gateway_settings(urls, dict.fromkeys(NODES, "secret"), "a password")
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(settings.document))
    for variable, password in settings.environ.items():
        monkeypatch.setenv(variable, password)
    gateway = load_gateway_settings(file)
    assert {node.name: node.url for node in gateway.nodes} == urls
    assert "secret" not in file.read_text()


def test_software_within_other_software_is_shown_once(tmp_path: Path) -> None:
    inner = tmp_path / "python" / "venv"
    inner.mkdir(parents=True)
    paths = software_paths(str(inner), str(tmp_path / "python"), "/usr/lib", "/no/such/place")
    assert str(tmp_path / "python") in paths
    assert str(inner) not in paths
    assert "/usr" in paths
    assert "/usr/lib" not in paths
    assert "/no/such/place" not in paths


@pytest.fixture
def listening(tmp_path: Path) -> Any:
    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        yield str(path)


def test_the_socket_asked_for_comes_before_that_of_the_environment(listening: str) -> None:
    assert socket_of(listening, {"DOCKER_HOST": "tcp://192.0.2.1:2375"}) == listening
    assert socket_of(None, {"DOCKER_HOST": f"unix://{listening}"}) == listening


@pytest.mark.parametrize(
    ("asked", "environ", "why"),
    [
        ("/no/such.sock", {}, "no container engine: /no/such.sock"),
        (None, {"DOCKER_HOST": "unix:///no/such.sock"}, "no container engine: /no/such.sock"),
        (None, {"DOCKER_HOST": "tcp://192.0.2.1:2375"}, "no socket of this machine"),
        ("/usr", {}, "/usr is no socket"),
    ],
)
def test_an_engine_that_is_not_there_is_told(
    asked: str | None, environ: Mapping[str, str], why: str
) -> None:
    with pytest.raises(DemoError, match=why):
        socket_of(asked, environ)


def test_the_image_is_almost_empty() -> None:
    with tarfile.open(fileobj=io.BytesIO(root_files())) as tar:
        members = {member.name: member for member in tar.getmembers()}
    assert members["tmp"].mode == 0o1777
    assert {"etc/passwd", "etc/group"} <= members.keys()
    assert not any(name.startswith(("usr", "bin", "lib")) for name in members)


def test_every_platform_has_a_name() -> None:
    assert [str(name) for name in PlatformName] == ["local", "docker"]
