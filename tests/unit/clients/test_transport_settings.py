"""The transport that the settings file asks for."""

from pathlib import Path

import pytest

from gateway.clients.lean.transport import LeanTransport
from gateway.clients.transport import AiohttpTransport
from gateway.clients.transports import transport_of
from gateway.config import load_gateway_settings
from gateway.httpkit.settings import SettingsError
from gateway.settings import TransportSettings
from tests.support.authority import Authority


def settings_of(folder: Path, section: str) -> TransportSettings:
    file = folder / "gateway.yaml"
    file.write_text(f"nodes: []\ntransport: {section}\n")
    return load_gateway_settings(file).transport


def test_the_lean_transport_is_the_default(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "{}")
    assert settings == TransportSettings()
    assert isinstance(transport_of(settings), LeanTransport)


def test_the_reference_can_be_asked_for(tmp_path: Path) -> None:
    assert isinstance(transport_of(settings_of(tmp_path, "{type: aiohttp}")), AiohttpTransport)


def test_an_authority_is_found_beside_the_settings(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    assert settings_of(tmp_path, "{ca_file: authority.pem}").ca_file == authority.file


@pytest.mark.parametrize(
    "section",
    [
        "{type: curl}",
        "{max_reply_bytes: 1000}",
        "{keepalive_s: -1}",
        "{dns_cache_s: -1}",
        "{ca_file: missing.pem}",
        "{ca_file: gateway.yaml}",
        "{retries: 3}",
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, section: str) -> None:
    with pytest.raises(SettingsError, match="transport"):
        settings_of(tmp_path, section)
