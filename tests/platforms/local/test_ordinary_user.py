"""The same tests once more, by a broker that is no root: with user namespaces, without groups."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from node_stub.platforms.local.setup import NOBODY
from tests.support.required import VARIABLE, required

FILES: Final = ("test_running.py", "test_ending.py", "test_isolation.py", "test_recovery.py")
"""What does not take a notebook, whose Python may be hidden from others."""

WITHIN_S: Final = 500


def python_for_everybody() -> str | None:
    """A Python of our version that another user can start; ours may lie in a home of its own."""
    name = f"python3.{sys.version_info.minor}"
    for path in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        # Through a shell: setpriv itself still has root's rights as it starts a program.
        argv = [*as_nobody(), "/bin/sh", "-c", 'exec "$0" -c ""', path]
        if (
            Path(path).exists()
            and subprocess.run(argv, stderr=subprocess.DEVNULL, check=False).returncode == 0
        ):
            return path
    return None


def as_nobody() -> list[str]:
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def can_be_reached(path: Path) -> bool:
    argv = [*as_nobody(), "/bin/sh", "-c", 'cd "$0"', str(path)]
    return subprocess.run(argv, stderr=subprocess.DEVNULL, check=False).returncode == 0


def with_tree_at(place: Path, tree: Path) -> list[str]:
    """What makes a checkout that lies in somebody's own directory reachable at another place.

    For the command that follows alone: in a mount namespace.
    """
    place.mkdir()
    mounting = 'mount --bind "$0" "$1" && shift && exec "$@"'
    return ["unshare", "--mount", "/bin/sh", "-c", mounting, str(tree), str(place)]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory that belongs to nobody, and can be reached by him."""
    path = Path(f"/tmp/eb-nobody-{os.getpid()}")
    path.mkdir(mode=0o700)
    os.chown(path, NOBODY, NOBODY)
    yield path
    subprocess.run(["rm", "-rf", str(path)], check=True)


@pytest.mark.timeout(WITHIN_S + 60)
@pytest.mark.parametrize("file", FILES)
def test_everything_holds_for_a_broker_that_is_no_root(file: str, folder: Path) -> None:
    required("root", os.geteuid() == 0, "only root can become another user")
    python = python_for_everybody()
    required("local", python is not None, "no Python of this version that another user can start")
    assert python is not None
    here = Path(__file__).parent
    tree, site = here.parents[2], Path(pytest.__file__).parents[1]
    argv = [*as_nobody(), python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    if not can_be_reached(tree):
        place = folder / "tree"
        argv = [*with_tree_at(place, tree), *argv]
        here, site = place / here.relative_to(tree), place / site.relative_to(tree)
        tree = place
    argv += ["--basetemp", str(folder / "base"), str(here / file)]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join((str(tree), str(site))),
        "PYTHONDONTWRITEBYTECODE": "1",
        VARIABLE: "local",
    }
    done = subprocess.run(
        argv,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:]
    assert " passed" in done.stdout
