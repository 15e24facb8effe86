"""The section of the settings about the nodes' health."""

from pathlib import Path

import pytest

from gateway.config import load_gateway_settings
from gateway.httpkit.settings import SettingsError

HEAD = "listen: 127.0.0.1:0\nadmin: {username: admin, password_env: TEST_PASSWORD}\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.yaml"
    path.write_text(HEAD + text)
    return path


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PASSWORD", "a password of some length")


@pytest.mark.parametrize(("deadline_s", "fair_wait_s"), [(20, 2.0), (4, 2.0), (2, 1.0)])
def test_half_of_a_short_deadline_is_a_fair_time(
    tmp_path: Path, deadline_s: float, fair_wait_s: float
) -> None:
    text = f"federation: {{deadline_s: {deadline_s}}}\n"
    settings = load_gateway_settings(write(tmp_path, text))
    assert settings.health_of_nodes.fair_wait_s == fair_wait_s


def test_the_longest_ejection_is_not_shorter_than_the_first(tmp_path: Path) -> None:
    path = write(tmp_path, "health: {ejection_s: 301}\n")
    with pytest.raises(SettingsError, match="longest_ejection_s"):
        load_gateway_settings(path)


def test_shares_and_times_have_bounds(tmp_path: Path) -> None:
    path = write(tmp_path, "health: {min_askable_share: 1.1, failures: 0, probe_wait_s: 0}\n")
    with pytest.raises(SettingsError) as refused:
        load_gateway_settings(path)
    for name in ("min_askable_share", "failures", "probe_wait_s"):
        assert name in str(refused.value)
