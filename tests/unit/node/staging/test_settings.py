"""Section ``staging`` of the settings."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.httpkit.settings import SettingsError, describe, load_settings
from node_stub.staging.settings import PushSettings, StagingSchema, StagingSettings


def load(folder: Path, **section: Any) -> StagingSettings:
    file = folder / "staging.yaml"
    file.write_text(yaml.safe_dump(section))
    (folder / "secret").write_text("hidden\n")
    settings: StagingSettings = load_settings(file, StagingSchema(), {"KEY": "key-of-the-site"})
    return settings


def faults(folder: Path, **section: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(folder, **section)
    return caught.value.faults


def test_by_default_only_public_https_is_fetched_and_nothing_sent(tmp_path: Path) -> None:
    settings = load(tmp_path)

    assert settings == StagingSettings()
    assert settings.rules().schemes == {"https"}
    assert not settings.rules().private_addresses
    assert settings.push.rules().hosts == ()


def test_every_setting_can_be_given_and_no_secret_is_shown(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        schemes=["https", "file"],
        hosts=["*.skao.int", "data.example.org"],
        file_roots=["/data/", "/srv//x"],
        cache_gib=10,
        s3_credentials={
            "site": {
                "endpoints": ["https://s3.example.org", "https://*.s3.example.org:9000"],
                "access_key_env": "KEY",
                "secret_key_file": "secret",
            }
        },
        push={"hosts": ["results.example.org"], "parallel": 3},
    )

    assert settings.file_roots == ("/data", "/srv/x")
    assert settings.cache_bytes == 10 << 30
    assert settings.push == PushSettings(hosts=("results.example.org",), parallel=3)
    assert settings.s3_credentials["site"].secret_key.reveal() == "hidden"
    shown = repr(describe(settings)) + repr(settings)
    assert "hidden" not in shown
    assert "key-of-the-site" not in shown


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ({"schemes": ["ftp"]}, "schemes[0]"),
        ({"hosts": ["https://x.org"]}, "hosts[0]"),
        ({"hosts": ["*x.org"]}, "hosts[0]"),
        ({"file_roots": ["data"], "schemes": ["file"]}, "file_roots[0]"),
        ({"file_roots": ["/data/../etc"], "schemes": ["file"]}, "file_roots[0]"),
        ({"file_roots": ["/data"]}, "file_roots"),
        ({"schemes": ["file"]}, "file_roots"),
        ({"parallel": 0}, "parallel"),
        ({"paralel": 1}, "paralel"),
        ({"s3_credentials": {"x": {"endpoints": ["https://s3.org"]}}}, "s3_credentials.x"),
        (
            {"s3_credentials": {"x": {"endpoints": ["https://s3.org"], "secret_key": "s"}}},
            "s3_credentials.x.secret_key",
        ),
        ({"push": {"schemes": ["file"]}}, "push.schemes[0]"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, section: dict[str, Any], fault: str) -> None:
    assert any(found.startswith(fault) for found in faults(tmp_path, **section))


def test_waits_grow_and_are_bounded() -> None:
    settings = StagingSettings(backoff_s=1, max_backoff_s=60)

    assert [settings.wait_s(n) for n in (1, 2, 3, 10, 10_000)] == [1, 2, 4, 60, 60]
