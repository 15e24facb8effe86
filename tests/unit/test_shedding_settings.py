"""The section of the settings about turning requests away."""

from pathlib import Path

import pytest

from gateway.config import load_gateway_settings
from gateway.httpkit.settings import SettingsError
from gateway.httpkit.shedding_settings import SheddingSettings

HEAD = "listen: 127.0.0.1:0\nadmin: {username: admin, password_env: TEST_PASSWORD}\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.yaml"
    path.write_text(HEAD + text)
    return path


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PASSWORD", "a password of some length")


@pytest.mark.parametrize(("deadline_s", "max_wait_s"), [(20, 1.0), (4, 1.0), (2, 0.5), (0.4, 0.1)])
def test_a_quarter_of_a_short_deadline_is_the_longest_wait(
    tmp_path: Path, deadline_s: float, max_wait_s: float
) -> None:
    text = f"federation: {{deadline_s: {deadline_s}}}\n"
    settings = load_gateway_settings(write(tmp_path, text))
    assert settings.shedding_in_time.max_wait_s == pytest.approx(max_wait_s)


def test_what_is_written_is_what_holds(tmp_path: Path) -> None:
    text = "shedding: {start_heavy: 5, max_waiting: 7, max_wait_s: 0.25}\n"
    settings = load_gateway_settings(write(tmp_path, text))
    expected = SheddingSettings(start_heavy=5, max_waiting=7, max_wait_s=0.25)
    assert settings.shedding_in_time == expected


def test_nobody_needs_to_wait(tmp_path: Path) -> None:
    settings = load_gateway_settings(
        write(tmp_path, "shedding: {max_waiting: 0, max_wait_s: 0}\n")
    ).shedding
    assert (settings.max_waiting, settings.max_wait_s) == (0, 0)


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    text = "shedding: {max_waiting: -1, max_wait_s: 61}\n"
    with pytest.raises(SettingsError) as refused:
        load_gateway_settings(write(tmp_path, text))
    for name in ("max_waiting", "max_wait_s"):
        assert name in str(refused.value)


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        load_gateway_settings(write(tmp_path, "shedding: {max_waiting: 1.5, max_wait_s: soon}\n"))
    for name in ("max_waiting", "max_wait_s"):
        assert name in str(refused.value)
