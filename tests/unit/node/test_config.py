"""The node's settings file, its examples, and the commands that read it."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.httpkit.server_settings import Reads
from gateway.httpkit.settings import SettingsError
from node_stub.__main__ import main
from node_stub.config import NodeSettings, load_node_settings
from node_stub.fitting import Fit
from node_stub.ledger import Amounts
from node_stub.platforms.simulated import JobStep, SimulatedSettings

CONFIG: Final = Path(__file__).parents[3] / "config"
EXAMPLES: Final = sorted(CONFIG.glob("node-*.yaml"))
SMALL: Final[dict[str, Any]] = {
    "name": "alpha",
    "capacity": {"cores": 4, "memory_gib": 8, "storage_gib": 16},
}


@pytest.fixture(autouse=True)
def admin_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_PASSWORD", "secret-of-the-admin")
    monkeypatch.setenv("REGISTRATION_TOKEN", "ebr_of-the-node")
    monkeypatch.setenv("HEAD_PASSWORD", "secret-of-the-head")


def load(path: Path, **changes: Any) -> NodeSettings:
    file = path / "node.yaml"
    file.write_text(yaml.safe_dump({**SMALL, **changes}))
    return load_node_settings(file)


def faults(path: Path, **changes: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(path, **changes)
    return caught.value.faults


def test_there_are_examples() -> None:
    names = {path.stem for path in EXAMPLES}

    assert names >= {"node-example", "node-alpha", "node-beta", "node-gamma"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_can_be_used(path: Path) -> None:
    settings = load_node_settings(path)

    assert settings.admin is not None
    assert settings.costs.session or settings.join


def test_the_defaults_are_those_of_the_documentation(tmp_path: Path) -> None:
    settings = load(tmp_path)
    example = load_node_settings(CONFIG / "node-example.yaml")

    assert settings.offers == example.offers
    assert settings.reconciler == example.reconciler
    assert settings.retention == example.retention
    assert settings.shedding == example.shedding
    assert settings.platform == example.platform
    assert settings.database_path == Path("node.db")


def test_settings_are_read(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        offers={"fit": "mixed", "count": 7},
        authentication={"reads": "owner"},
        deny={"ports": [22], "images": ["bad"]},
        platform={"type": "simulated", "fail": {"run": 0.5}, "hang": ["release"]},
    )

    assert (settings.offers.fit, settings.offers.count) == (Fit.MIXED, 7)
    assert settings.authentication.reads is Reads.OWNER
    assert settings.deny.ports == frozenset({22})
    assert isinstance(settings.platform, SimulatedSettings)
    assert settings.platform.fail == {JobStep.RUN: 0.5}
    assert JobStep.RELEASE in settings.platform.hang


def test_without_limits_a_request_may_take_everything(tmp_path: Path) -> None:
    rules = load(tmp_path).rules(frozenset())

    assert rules.limits == Amounts(4, 8, 16)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"colour": "green"}, "colour"),
        ({"offers": {"colour": 1}}, "offers.colour"),
        ({"deny": {"colour": []}}, "deny.colour"),
        ({"platform": {"type": "quantum"}}, "platform.type"),
        ({"platform": {"type": "simulated", "colour": 1}}, "platform.colour"),
        ({"platform": {"type": "simulated", "fail": {"run": 2}}}, "platform.fail"),
        ({"capacity": {"cores": 0, "memory_gib": 1, "storage_gib": 1}}, "capacity.cores"),
        ({"limits": {"cores": 5, "memory_gib": 1, "storage_gib": 1}}, "limits"),
        ({"costs": {"session": [{"type": "urn:x", "min": 2, "max": 1}]}}, "costs.session[0].max"),
        ({"database": "postgresql://x"}, "database"),
        ({"name": "a/b"}, "name"),
        ({"offers": {"count": "4"}}, "offers.count"),
    ],
)
def test_a_setting_that_is_wrong_is_named(
    tmp_path: Path, changes: dict[str, Any], place: str
) -> None:
    assert any(fault.startswith(place) for fault in faults(tmp_path, **changes))


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    assert len(faults(tmp_path, colour=1, name="", offers={"count": 0})) == 3


def test_check_config_prints_what_is_in_force_without_secrets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = main(["check-config", "--config", str(CONFIG / "node-example.yaml")])

    printed = capsys.readouterr().out
    assert status == 0
    assert json.loads(printed)["offers"]["expires_s"] == 300
    assert "secret-of-the-admin" not in printed


def test_check_config_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "node.yaml"
    file.write_text("colour: green\n")

    assert main(["check-config", "--config", str(file)]) == 2
    printed = capsys.readouterr()
    assert "colour: is not a setting" in printed.err
    assert printed.out == ""


def test_the_openapi_document_is_printed_and_valid(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["openapi", "--config", str(CONFIG / "node-alpha.yaml")]) == 0

    document = json.loads(capsys.readouterr().out)
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert set(document["paths"]) >= {
        "/requests",
        "/direct",
        "/offersets/{uuid}",
        "/sessions/{uuid}",
        "/compute/{uuid}",
        "/admin/identities",
        "/actuator/health",
    }
