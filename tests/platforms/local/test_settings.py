"""The settings of the platform, and what is wrong with bad ones."""

from pathlib import Path

import pytest

from gateway.httpkit.settings import SettingsError, describe, load_settings
from node_stub.platforms.local.settings import (
    LocalSchema,
    LocalSettings,
    Network,
    NotebookSettings,
    ProgramSettings,
    SandboxChoice,
)
from tests.platforms.local.jobs import DIGEST

FULL = """
programs:
  - images: [site/tool:1, mirror/tool:1]
    digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000"
    command: [/usr/bin/tool, --fast]
    environment: {MODE: site}
    entrypoints: {check: [/usr/bin/check]}
notebook:
  python: /opt/notebooks/bin/python
  paths: [/opt/shared]
sandbox: bubblewrap
network: none
paths: [/usr]
processes: 64
grace_s: 2
backstop_s: 5.5
run_as_uid: 1234
cgroup: /execbroker
"""


def loaded(folder: Path, text: str) -> LocalSettings:
    path = folder / "settings.yaml"
    path.write_text(text)
    settings: LocalSettings = load_settings(path, LocalSchema())
    return settings


def test_every_setting_is_read(tmp_path: Path) -> None:
    assert loaded(tmp_path, FULL) == LocalSettings(
        programs=(
            ProgramSettings(
                images=("site/tool:1", "mirror/tool:1"),
                command=("/usr/bin/tool", "--fast"),
                digest="sha256:" + "0" * 64,
                environment={"MODE": "site"},
                entrypoints={"check": ("/usr/bin/check",)},
            ),
        ),
        notebook=NotebookSettings(python="/opt/notebooks/bin/python", paths=("/opt/shared",)),
        sandbox=SandboxChoice.BUBBLEWRAP,
        network=Network.NONE,
        paths=("/usr",),
        processes=64,
        grace_s=2,
        backstop_s=5.5,
        run_as_uid=1234,
        cgroup="/execbroker",
    )


def test_nothing_has_to_be_said(tmp_path: Path) -> None:
    assert loaded(tmp_path, "{}") == LocalSettings()
    assert loaded(tmp_path, "notebook: {}").notebook == NotebookSettings()
    assert describe(LocalSettings())["sandbox"] == "auto"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("programs: [{images: [a], command: []}]", "programs[0].command: must be a list"),
        ("programs: [{images: [a], command: [sh]}]", "must begin with an absolute path"),
        ("programs: [{images: [], command: [/bin/sh]}]", "programs[0].images"),
        ("programs: [{images: [a], command: [/a], digest: x}]", "must be like sha256:"),
        (
            f"programs: [{{images: [a], digest: {DIGEST}, command: [/a]}},"
            f" {{images: [a], digest: {DIGEST}, command: [/b]}}]",
            "programs[1]: a is given twice",
        ),
        ("run_as_uid: 0", "run_as_uid"),
        ("sandbox: chroot", "sandbox"),
        ("paths: [usr]", "must be an absolute path"),
        ("shell: true", "shell: is not a setting"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, text)
    assert any(fault in line for line in caught.value.faults), caught.value.faults
