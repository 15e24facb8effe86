"""Settings files of both services: settings that can be shown, or every fault of the file."""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from gateway.config import load_gateway_settings
from gateway.httpkit.settings import SettingsError, describe
from node_stub.config import load_node_settings
from tests.fuzz.samples import settings_files

_SECRET: Final = "swordfish"


def run(data: bytes) -> None:
    """The bytes as the file of either service."""
    with tempfile.TemporaryDirectory(prefix="eb-fuzz-") as folder:
        path = Path(folder) / "settings.yaml"
        path.write_bytes(data)
        _check(lambda: load_gateway_settings(path))
        _check(lambda: load_node_settings(path, {"SECRET": _SECRET}))


def _check(load: Callable[[], Any]) -> None:
    faults = ["not usable"]
    try:
        shown = json.dumps(describe(load()), allow_nan=False)
        assert _SECRET not in shown
    except SettingsError as error:
        faults = error.faults
    assert faults


def seeds() -> Iterator[bytes]:
    """The examples."""
    yield from settings_files("gateway")
    yield from settings_files("node")
    yield from settings_files("lake")
    yield b"admin: {username: a, password_env: SECRET}\nlisten: '[::1]:8080'\n"
    yield b"nodes: [{name: a, url: 'http://a:1', credentials: {type: none}}]\n"
    yield b"a: &a {b: 2026-01-01, c: !!float 1}\nd: {<<: *a}\n"
