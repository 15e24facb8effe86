"""The demo's notebook measures what was put into the cube."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.cli.demo.cube import Galaxy, Survey, make_cube

NOTEBOOK: Final = Path(__file__).parents[3] / "config" / "demo" / "cube.ipynb"
RUN_S: Final = 100
PNG: Final = b"\x89PNG\r\n\x1a\n"

pytestmark = pytest.mark.xdist_group("notebook")  # it runs once, not once in each worker


def test_the_notebook_is_kept_without_what_a_run_leaves() -> None:
    notebook = json.loads(NOTEBOOK.read_text())
    for cell in notebook["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
    assert [cell for cell in notebook["cells"] if cell["metadata"].get("tags") == ["parameters"]]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which it ran, as a node runs it."""
    directory = tmp_path_factory.mktemp("notebook")
    (directory / "elsewhere.fits").write_bytes(make_cube())
    command = [sys.executable, "-m", "papermill", str(NOTEBOOK), "notebook.ipynb"]
    command += ["-r", "cube", "elsewhere.fits", "-r", "sigma", "4.5", "--no-progress-bar"]
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "HOME": str(directory)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return directory


def test_the_measurements_are_what_was_put_in(ran: Path) -> None:
    measured = json.loads((ran / "measured.json").read_text())
    galaxy = Galaxy()
    assert measured["flux_jy_km_s"] == pytest.approx(galaxy.flux, rel=0.04)
    assert measured["velocity_km_s"] == pytest.approx(galaxy.velocity, abs=Survey().channel / 2)
    assert measured["rotation_km_s"] == pytest.approx(galaxy.seen_rotation, rel=0.04)


def test_the_last_line_tells_them(ran: Path) -> None:
    measured = json.loads((ran / "measured.json").read_text())
    lines = [line for text in texts_of(ran / "notebook.ipynb") for line in text.splitlines()]
    assert len(lines) >= 8
    assert lines[-1] == (
        f"total flux {measured['flux_jy_km_s']:.2f} Jy km/s, "
        f"velocity {measured['velocity_km_s']:.2f} km/s, "
        f"rotation {measured['rotation_km_s']:.1f} km/s"
    )


@pytest.mark.parametrize("name", ["moment0.png", "moment1.png", "spectrum.png"])
def test_every_figure_is_drawn(ran: Path, name: str) -> None:
    content = (ran / name).read_bytes()
    assert content.startswith(PNG)
    assert len(content) > 10_000


def texts_of(path: Path) -> list[str]:
    """All that the cells of a notebook printed; nothing of it is a warning."""
    outputs: list[dict[str, Any]] = [
        output
        for cell in json.loads(path.read_text())["cells"]
        for output in cell.get("outputs", [])
        if output["output_type"] == "stream"
    ]
    assert {output["name"] for output in outputs} == {"stdout"}, outputs
    return ["".join(output["text"]) for output in outputs]
