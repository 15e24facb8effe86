"""What ``k8s/`` says of the gateway is what the gateway says of itself."""

import re
import shlex
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from aiohttp.test_utils import TestClient, TestServer

from gateway.app import build_app
from gateway.arguments import parser
from gateway.config import GatewaySettings, load_gateway_settings
from gateway.httpkit.health import CHECK_TIMEOUT_S
from gateway.httpkit.serving import CLOSE_TIMEOUT_S, FIRST_WORDS_S
from gateway.stores.postgres import CLOSE_S, MIGRATE_S
from gateway.wire.documents import Document
from gateway.wire.outputs import HEARTBEAT_S
from tests.support.kustomize import K8S, OVERLAYS, in_file, section_of_the_readme, values_of

ROOT: Final = K8S.parent
DOCKERFILE: Final = (K8S / "Dockerfile").read_text()
POD: Final[Document] = in_file("base/deployment.yaml")["spec"]["template"]["spec"]
CONTAINER: Final[Document] = POD["containers"][0]
PROBES: Final = ("startupProbe", "readinessProbe", "livenessProbe")
MOUNTS: Final = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
INGRESS: Final[Document] = next(yaml.safe_load_all((K8S / "overlays/hq/ingress.yaml").read_text()))

RESERVED_CONNECTIONS: Final = 3
MAX_CONNECTIONS: Final = 100
"""PostgreSQL's own defaults (max_connections, superuser_reserved_connections)."""

ENDING: Final = 2
"""Gateways that are still ending while one is rolled after the other: each takes its notice of 10
s, and the next some five to start."""


def settings_of(overlay: str, folder: Path) -> GatewaySettings:
    """The settings of an overlay, with the secrets that the README has the operator make."""
    for name in secrets_of_the_readme():
        file = folder / "secrets" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{name}, long enough to be a key\n")
    file = folder / "settings" / "gateway.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes((K8S / "overlays" / overlay / "gateway.yaml").read_bytes())
    return load_gateway_settings(file)


def secrets_of_the_readme() -> set[str]:
    """Those that come in the command's folder."""
    listed = re.search(r"a file for each secret:(.*?)\.\n", section_of_the_readme(), re.DOTALL)
    assert listed is not None
    names = set(re.findall(r"`([a-z]+-[a-z]+)`", listed[1]))
    assert names
    return names


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_settings_load_and_listen_where_the_pod_is_spoken_to(
    overlay: str, tmp_path: Path
) -> None:
    settings = settings_of(overlay, tmp_path)
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert (settings.listen.host, settings.listen.port) == ("0.0.0.0", ports["http"])
    assert settings.tls is None  # the probes speak plain HTTP
    assert settings.admin is not None
    assert settings.secret_key is not None
    assert f"EXPOSE {ports['http']}\n" in DOCKERFILE


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_secret_that_settings_name_is_one_that_the_readme_has_made(overlay: str) -> None:
    settings = in_file(f"overlays/{overlay}/gateway.yaml")
    files = {Path(value) for name in files_in(settings) for value in values_of(name, settings)}
    files |= {Path(file) for file in parse_qs(urlsplit(settings["database"]).query).get(
        "sslrootcert", ())}  # fmt: skip
    folders = {str(file.parent) for file in files}
    assert folders <= {"../secrets", MOUNTS["secrets"]}
    assert {file.name for file in files} <= secrets_of_the_readme()
    assert Path(MOUNTS["secrets"]) == Path(MOUNTS["settings"]).parent / "secrets"


def files_in(settings: Document) -> set[str]:
    return set(re.findall(r"\b\w+_file\b", yaml.safe_dump(settings)))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_gateway_has_ended_before_kubernetes_kills_it(overlay: str, tmp_path: Path) -> None:
    settings = settings_of(overlay, tmp_path)
    waits_s = settings.drain_notice_s + FIRST_WORDS_S + settings.drain_s
    ending_s = waits_s + CLOSE_TIMEOUT_S + CLOSE_S
    assert ending_s < POD["terminationGracePeriodSeconds"]
    assert settings.drain_s > settings.federation.max_wait_s


@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_every_probe_is_answered_by_a_gateway_with_these_settings(
    overlay: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    settings = settings_of(overlay, tmp_path)
    if settings.database.startswith("postgresql:"):
        url: str = request.getfixturevalue("postgres_url")
        settings = replace(settings, database=url, database_password=None)
    async with TestClient(TestServer(build_app(settings, tmp_path))) as client:
        for probe in PROBES:
            asked = CONTAINER[probe]["httpGet"]
            assert asked["port"] == "http"
            async with client.get(asked["path"]) as answer:
                assert answer.status == 200, asked
        monitor = in_file("components/monitoring/servicemonitor.yaml")
        for path in values_of("path", monitor):
            async with client.get(path) as answer:
                assert answer.status == 200, path


def test_probes_leave_a_gateway_the_time_that_it_takes_itself() -> None:
    starting, ready = CONTAINER["startupProbe"], CONTAINER["readinessProbe"]
    # A statement of a migration, after the wait for another gateway that does the same.
    assert starting["periodSeconds"] * starting["failureThreshold"] >= 2 * MIGRATE_S
    assert ready["timeoutSeconds"] > CHECK_TIMEOUT_S


def test_the_arguments_are_those_of_the_image_and_lead_to_what_is_mounted() -> None:
    options = parser().parse_args(CONTAINER["args"])
    command = re.search(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert command is not None
    assert yaml.safe_load(command[1]) == CONTAINER["args"]
    assert options.config == Path(MOUNTS["settings"]) / "gateway.yaml"
    assert options.data_dir == Path(MOUNTS["data"])
    assert f"--home-dir {options.data_dir} " in DOCKERFILE


def test_pods_run_as_the_user_of_the_image() -> None:
    own = POD["securityContext"]
    assert f"USER {own['runAsUser']}:{own['runAsGroup']}\n" in DOCKERFILE
    assert f"--uid {own['runAsUser']} " in DOCKERFILE


def test_all_gateways_together_leave_postgres_its_reserve(tmp_path: Path) -> None:
    strategy = in_file("base/deployment.yaml")["spec"]["strategy"]["rollingUpdate"]
    most = in_file("components/autoscaling/autoscaler.yaml")["spec"]["maxReplicas"]
    gateways = most + strategy["maxSurge"] + ENDING
    connections = settings_of("hq", tmp_path).postgres.connections
    assert gateways * connections <= MAX_CONNECTIONS - RESERVED_CONNECTIONS


def test_the_ingress_is_the_public_url_and_more_patient_than_the_gateway(tmp_path: Path) -> None:
    settings = settings_of("hq", tmp_path)
    hosts = [rule["host"] for rule in INGRESS["spec"]["rules"]]
    assert [f"https://{host}" for host in hosts] == [settings.public_url]
    assert INGRESS["spec"]["tls"][0]["hosts"] == hosts
    said = {
        name.rpartition("/")[2]: value for name, value in INGRESS["metadata"]["annotations"].items()
    }
    patience_s = int(said["proxy-read-timeout"])
    assert patience_s >= 2 * settings.federation.max_wait_s
    assert patience_s >= 4 * HEARTBEAT_S
    assert said["proxy-buffering"] == "off"
    assert int(said["proxy-body-size"].removesuffix("m")) << 20 > settings.max_body_bytes


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_the_settings_name_may_be_reached(overlay: str) -> None:
    text = (K8S / "overlays" / overlay / "gateway.yaml").read_text()
    usual = {"postgresql": 5432, "https": 443, "http": 80}
    urls = [urlsplit(url) for url in re.findall(r"(?:https?|postgresql)://[^\s,}\]]+", text)]
    needed = {url.port or usual[url.scheme] for url in urls}
    egress = in_file("base/network.yaml")["spec"]["egress"]
    assert needed <= set(values_of("port", egress))


def test_the_image_is_built_from_what_the_tests_ran_with() -> None:
    ours, all_of_them = (pins(path / "requirements.lock") for path in (K8S, ROOT))
    assert ours.items() <= all_of_them.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for requirement in (*project["dependencies"], *extras["postgres"], *extras["uvloop"]):
        assert re.split(r"[<>=~!\[]", requirement)[0].lower() in ours, requirement


def pins(lock: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Version and hashes of each package."""
    blocks = re.split(r"\n(?=[A-Za-z0-9])", lock.read_text())
    found = [(re.match(r"([\w.-]+)(?:\[[^]]*\])?==(\S+)", block), block) for block in blocks]
    return {
        match[1].lower(): (match[2], frozenset(re.findall(r"sha256:\w{64}", block)))
        for match, block in found
        if match is not None
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_runs_the_version_of_this_checkout(overlay: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    images = in_file(f"overlays/{overlay}/kustomization.yaml")["images"]
    assert [(image["name"], image["newTag"]) for image in images] == [
        (CONTAINER["image"], project["version"])
    ]
    built = shlex.split(next(line for line in DOCKERFILE.splitlines() if "docker build" in line))
    assert f"{CONTAINER['image']}:{project['version']}" in built
