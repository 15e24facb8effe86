"""The settings of the platform as they are written in a file."""

from typing import Any

import pytest
from marshmallow import ValidationError

from node_stub.platforms.docker.settings import (
    DockerSchema,
    DockerSettings,
    NotebookSettings,
    PullPolicy,
    SiteMount,
)


def test_nothing_needs_to_be_said() -> None:
    assert DockerSchema().load({}) == DockerSettings()


def test_everything_can_be_said() -> None:
    found = DockerSchema().load(
        {
            "socket": "unix:///run/user/1000/podman/podman.sock",
            "pull": "never",
            "site_mounts": [{"source": "/cvmfs", "target": "/cvmfs"}],
            "notebook": {"image": "jupyter/x:1", "interactive": True},
            "capabilities": ["CHOWN"],
            "public_host": "node.example.org",
        }
    )
    assert found.socket_path == "/run/user/1000/podman/podman.sock"
    assert found.pull is PullPolicy.NEVER
    assert found.site_mounts == (SiteMount(source="/cvmfs", target="/cvmfs"),)
    assert found.notebook == NotebookSettings(image="jupyter/x:1", interactive=True)
    assert found.reached_at == "node.example.org"


@pytest.mark.parametrize(
    "fault",
    [
        {"socket": "tcp://127.0.0.1:2375"},
        {"socket": "unix://relative.sock"},
        {"capabilities": ["ALL"]},
        {"capabilities": ["cap_chown"]},
        {"site_mounts": [{"source": "cvmfs", "target": "/cvmfs"}]},
        {"notebook": {"image": "x", "digest": "sha256:abc"}},
        {"processes": 0},
        {"publish_address": "0.0.0.0"},
        {"priviliged": True},
    ],
)
def test_what_cannot_be_meant_is_refused(fault: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DockerSchema().load(fault)
