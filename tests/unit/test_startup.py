"""Nobody waits for what is not needed: what the programs import, and when."""

import gc
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.httpkit import garbage
from gateway.httpkit.docs_pages import ApiDescription
from gateway.wire.documents import Document

HEAVY = {"aiohttp", "asyncio", "marshmallow", "msgspec", "rich", "structlog", "yaml"}
CONFIG = Path(__file__).parents[2] / "config"
PROGRAMS = ["gateway.__main__", "node_stub.__main__", "gateway.cli.main"]

RUN_AND_TELL = """
import sys
from importlib import import_module
try:
    status = import_module(sys.argv[1]).main(sys.argv[2:])
except SystemExit as ended:
    status = ended.code
print("ended", status, *sys.modules)
"""


def run(*arguments: str) -> tuple[int, set[str]]:
    """A program in a process of its own: how it ended, and what it had imported by then."""
    done = subprocess.run(
        [sys.executable, "-c", RUN_AND_TELL, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told, status, *modules = done.stdout.splitlines()[-1].split()
    assert told == "ended"
    return int(status), set(modules)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), (["fly"], 2)])
def test_help_and_mistakes_import_next_to_nothing(
    program: str, arguments: list[str], status: int
) -> None:
    ended, modules = run(program, *arguments)
    assert ended == status
    assert not HEAVY & modules
    assert "argparse" in modules


@pytest.mark.parametrize(
    "arguments",
    [
        ["gateway.__main__", "serve", "--help"],
        ["node_stub.__main__", "serve", "--help"],
        ["node_stub.__main__", "misbehave", "--help"],
        ["gateway.cli.main", "draft", "new", "--help"],
    ],
)
def test_the_help_of_a_command_imports_no_more(arguments: list[str]) -> None:
    ended, modules = run(*arguments)
    assert ended == 0
    assert not HEAVY & modules


@pytest.mark.parametrize(
    ("package", "config"),
    [("gateway", "gateway.yaml"), ("node_stub", "node-alpha.yaml")],
)
def test_settings_are_checked_without_the_service(
    package: str, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ADMIN_PASSWORD", "ALPHA_PASSWORD", "BETA_PASSWORD", "GAMMA_PASSWORD"):
        monkeypatch.setenv(name, "a secret of the test")
    ended, modules = run(f"{package}.__main__", "check-config", "--config", str(CONFIG / config))
    assert ended == 0
    assert f"{package}.config" in modules
    assert f"{package}.app" not in modules


@pytest.mark.parametrize("package", ["gateway", "node_stub"])
def test_signatures_are_not_loaded_for_a_service_without_issuers(package: str) -> None:
    text = f"import sys, {package}.app; print('joserfc' in sys.modules, 'aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_the_description_is_made_when_it_is_asked_for_and_once() -> None:
    made = []
    go_on = threading.Event()

    def build() -> Document:
        made.append(threading.current_thread().name)
        go_on.wait(5)
        return {"openapi": "3.1.0"}

    description = ApiDescription(build)
    assert made == []
    with ThreadPoolExecutor(4) as threads:
        texts = [threads.submit(description.text) for _ in range(4)]
        go_on.set()
        assert {text.result() for text in texts} == {b'{"openapi":"3.1.0"}'}
    assert len(made) == 1


def test_a_description_that_failed_is_made_anew() -> None:
    tries = iter([ValueError("not yet"), None])

    def build() -> Document:
        if (error := next(tries)) is not None:
            raise error
        return {}

    description = ApiDescription(build)
    with pytest.raises(ValueError, match="not yet"):
        description.text()
    assert description.text() == b"{}"


def test_garbage_is_let_lie_until_the_start_is_over() -> None:
    before = gc.get_threshold()
    assert gc.isenabled()
    try:
        with garbage.let_lie():
            assert not gc.isenabled()
            garbage.has_started()
            assert gc.isenabled()
            assert gc.get_freeze_count() > 0
            assert gc.get_threshold()[0] == garbage.GC_THRESHOLD
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def test_a_start_that_fails_leaves_nothing_switched_off() -> None:
    with pytest.raises(OSError, match="port"), garbage.let_lie():
        raise OSError("the port is taken")
    assert gc.isenabled()
