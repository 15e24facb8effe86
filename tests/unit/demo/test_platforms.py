"""What the demo's services are set up with: settings that they take, whatever the machine."""

import io
import socket
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli.demo.archive import ArchiveFile
from gateway.cli.demo.cube import make_cube
from gateway.cli.demo.engine import Image, root_files, socket_of
from gateway.cli.demo.errors import DemoError
from gateway.cli.demo.lake import HOME, LAKE_FILE, SITES, SLOW_GBIT_S, DemoLake
from gateway.cli.demo.platforms import PlatformName, docker_section, local_section, software_paths
from gateway.cli.demo.settings import NODES, gateway_settings, node_settings
from gateway.config import load_gateway_settings
from gateway.sections.lake_catalogue import load_catalogue
from gateway.sections.lake_settings import BYTES_PER_GBIT
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
    lake = DemoLake(ArchiveFile("galaxy.fits", b"a cube", "application/fits"), "http://x/galaxy")
    (tmp_path / LAKE_FILE).write_text(yaml.safe_dump(lake.catalogue()))
    for variable, password in settings.environ.items():
        monkeypatch.setenv(variable, password)
    gateway = load_gateway_settings(file)
    assert {node.name: node.url for node in gateway.nodes} == urls
    assert {node.site for node in gateway.nodes} == set(gateway.sites)
    assert "secret" not in file.read_text()


def test_the_lake_has_one_copy_with_what_is_true_of_it(tmp_path: Path) -> None:
    file = ArchiveFile("galaxy.fits", b"a cube", "application/fits")
    path = tmp_path / LAKE_FILE
    path.write_text(yaml.safe_dump(DemoLake(file, "http://x/galaxy.fits").catalogue()))
    (holding,) = load_catalogue(path).holdings()
    assert str(holding.did) == "demo:galaxy.fits"
    assert holding.bytes == len(file.content)
    assert [(c.type, c.value) for c in holding.checksums] == [("sha256", file.sha256)]
    (copy,) = holding.parts[0].copies
    assert copy.place.rse in SITES[HOME]["rses"]
    assert copy.urls == ("http://x/galaxy.fits",)


def test_the_slow_link_takes_the_demo_as_long_as_a_terabyte_takes_a_fast_one() -> None:
    cube_s = len(make_cube()) / (SLOW_GBIT_S * BYTES_PER_GBIT)
    assert cube_s == pytest.approx(1e12 / (10 * BYTES_PER_GBIT), rel=0.1)


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
