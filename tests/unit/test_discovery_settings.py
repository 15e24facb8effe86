"""The section of the settings about what users may publish and import."""

from pathlib import Path

import pytest

from gateway.config import load_gateway_settings
from gateway.httpkit.settings import SettingsError
from gateway.settings import DiscoverySettings

HEAD = "listen: 127.0.0.1:0\nadmin: {username: admin, password_env: TEST_PASSWORD}\n"


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PASSWORD", "a password of some length")


def loaded(folder: Path, text: str) -> DiscoverySettings:
    path = folder / "gateway.yaml"
    path.write_text(HEAD + text)
    return load_gateway_settings(path).discovery


def test_nothing_is_imported_unless_the_settings_say_so(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "")
    assert settings.import_hosts == ()
    assert not settings.import_http
    assert not settings.import_private


def test_hosts_are_names_or_addresses_with_a_port_or_without(tmp_path: Path) -> None:
    hosts = ("git.example.org", "10.0.0.1:8443", "[fd00::1]:8443")
    text = "discovery: {import_hosts: ['git.example.org', '10.0.0.1:8443', '[fd00::1]:8443']}\n"
    assert loaded(tmp_path, text).import_hosts == hosts


@pytest.mark.parametrize(
    "host", ["https://example.org", "example.org/x", "*.example.org", "", "a b"]
)
def test_what_is_no_host_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingsError, match="import_hosts"):
        loaded(tmp_path, f"discovery: {{import_hosts: ['{host}']}}\n")


def test_times_and_sizes_have_bounds(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, "discovery: {import_s: 0, import_bytes: 1, templates_per_owner: -1}\n")
    for name in ("import_s", "import_bytes", "templates_per_owner"):
        assert name in str(caught.value)
