"""Notebooks, run by the real papermill in a process of its own."""

import json
import os
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.wire import kinds
from node_stub.appraisal import Appraisal
from node_stub.platforms.base import EndReason, JobPhase, JobRefusedError
from node_stub.platforms.local import reasons
from node_stub.platforms.local.notebook_job import parameter
from node_stub.platforms.local.settings import LocalSettings, NotebookSettings, SandboxChoice
from node_stub.platforms.runner import RunSpec
from tests.platforms.local.conftest import Benches
from tests.platforms.local.jobs import Bench
from tests.support.required import required

SETTINGS = NotebookSettings()

LISTENING = """
inodes = {line.split()[9] for line in open("/proc/net/tcp") if line.split()[3] == "0A"}
links = [os.readlink(path) for path in glob.glob("/proc/[0-9]*/fd/*") if os.path.islink(path)]
print(len([link for link in links if link.removeprefix("socket:[").rstrip("]") in inodes]))
"""
"""In a sandbox: the listening TCP sockets of all its processes."""


def notebook(*cells: str, language: str = "python") -> str:
    """A notebook with code cells; the first holds its parameters."""

    def cell(number: int, source: str) -> dict[str, Any]:
        tags = ["parameters"] if number == 0 else []
        return {
            "cell_type": "code",
            "id": f"cell{number}",
            "source": source,
            "metadata": {"tags": tags},
            "outputs": [],
            "execution_count": None,
        }

    return json.dumps(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {
                "kernelspec": {"name": language, "display_name": language, "language": language},
                "language_info": {"name": "python"},
            },
            "cells": [cell(number, source) for number, source in enumerate(cells)],
        }
    )


async def notebook_bench(new_bench: Benches, choice: SandboxChoice) -> Bench:
    bench = await new_bench(choice, notebook=SETTINGS)
    found = bench.setup.notebook
    assert found is not None
    required("notebook", not found.trouble, found.trouble)
    return bench


@pytest.fixture(params=list(SandboxChoice)[1:], ids=str)
async def desk(request: pytest.FixtureRequest, new_bench: Benches) -> Bench:
    """A bench in each sandbox that runs notebooks."""
    return await notebook_bench(new_bench, request.param)


@pytest.fixture
async def box(new_bench: Benches) -> Bench:
    """A bench in the best sandbox that runs notebooks."""
    return await notebook_bench(new_bench, SandboxChoice.AUTO)


def spec_of(bench: Bench, text: str, **executable: Any) -> RunSpec:
    document = {"kind": kinds.JUPYTER_NOTEBOOK, "location": "https://example.org/a", **executable}
    spec = bench.spec_of(document, memory_gib=2)
    spec.workspace.notebook.write_text(text)
    spec.workspace.notebook.chmod(0o600)
    return spec


def outputs(spec: RunSpec) -> list[str]:
    """The text that each cell of the executed notebook has printed."""
    executed = json.loads((spec.workspace.home / "notebook.ipynb").read_text())
    return ["".join(_texts(cell["outputs"])) for cell in executed["cells"] if "outputs" in cell]


def _texts(found: Sequence[dict[str, Any]]) -> list[str]:
    return ["".join(output.get("text", "")) for output in found]


async def test_a_notebook_runs_with_its_parameters(desk: Bench) -> None:
    text = notebook(
        "n = 1\nname = ''\nwide = False",
        "import os, sys\nprint('sum', n + 1, name, wide)\nprint('err', file=sys.stderr)",
        "open('result.txt', 'w').write('made')\nprint(os.getcwd())",
    )
    environment = {"n": "41", "name": "M 31", "wide": "true"}
    spec = spec_of(desk, text, environment=environment)
    seen = await desk.run(spec, within_s=60)
    assert (seen.reason, seen.exit_code) == (EndReason.OK, 0), desk.err(spec)
    assert desk.out(spec).splitlines()[0] == "sum 42 M 31 True"
    assert "err" in desk.err(spec).splitlines()
    assert "sum 42 M 31 True\n" in "".join(outputs(spec))
    html = (spec.workspace.home / "notebook.html").read_text()
    assert "sum 42 M 31 True" in html
    names = {path.name for path in spec.workspace.home.iterdir()}
    assert names == {"notebook.ipynb", "notebook.html", "result.txt"}


async def test_parameters_may_be_values_too(box: Bench) -> None:
    text = notebook("rows = []", "print(sum(rows))")
    spec = spec_of(box, text, parameters={"rows": [1, 2, 3]})
    await box.run(spec, within_s=60)
    assert box.out(spec) == "6\n"


async def test_a_cell_that_raises_leaves_the_notebook_and_its_name(box: Bench) -> None:
    text = notebook("a = 1", "print('before')", "raise KeyError('lost')", "print('after')")
    spec = spec_of(box, text)
    seen = await box.run(spec, within_s=60)
    assert (seen.reason, seen.exit_code) == (EndReason.NONZERO, 1)
    assert box.out(spec) == "before\n"
    assert box.err(spec).rstrip().splitlines()[-1] == "KeyError: 'lost'"
    assert "KeyError" in (spec.workspace.home / "notebook.html").read_text()
    assert "before\n" in outputs(spec)


async def test_a_notebook_that_cannot_be_run_is_a_bad_image(box: Bench) -> None:
    texts = ["not json", "{}", "[1]", notebook("1", language="fortran")]
    specs = [spec_of(box, text) for text in texts]
    for spec in specs:
        await box.start(spec)
    for spec in specs:
        seen = await box.end(spec, within_s=60)
        assert (seen.reason, seen.exit_code) == (EndReason.IMAGE, 2), box.err(spec)
        assert "notebook" in box.err(spec).strip().splitlines()[-1]


async def test_a_notebook_that_kills_its_kernel_fails(box: Bench) -> None:
    spec = spec_of(box, notebook("import os", "os._exit(2)"))
    seen = await box.run(spec, within_s=60)
    assert (seen.reason, seen.exit_code) == (EndReason.NONZERO, 1)
    assert "DeadKernelError" in box.err(spec)


async def test_a_notebook_that_is_stopped_leaves_what_it_had(desk: Bench) -> None:
    text = notebook("import time", "print('first')", "print('second')\ntime.sleep(600)")
    spec = spec_of(desk, text)
    await desk.start(spec)
    await desk.says(spec, "second", within_s=60)
    desk.tree(spec)
    await desk.runner.stop(spec.workspace, grace_s=20)
    seen = await desk.end(spec, within_s=30)
    assert seen.reason is EndReason.CANCELLED
    assert "first\n" in outputs(spec)
    assert "first" in (spec.workspace.home / "notebook.html").read_text()
    assert not desk.living()


async def test_no_channel_of_a_kernel_is_a_port(box: Bench) -> None:
    text = notebook("import glob, os, socket", LISTENING)
    spec = spec_of(box, text)
    await box.run(spec, within_s=60)
    # The one is ipykernel's for what its child processes print; a channel each would make five.
    assert box.out(spec) in {"0\n", "1\n"}


async def test_a_launch_without_the_notebook_fails(box: Bench) -> None:
    spec = spec_of(box, "{}")
    spec.workspace.notebook.unlink()
    await box.runner.prepare(spec)
    assert (await box.look(spec)).phase is JobPhase.READY
    with pytest.raises(JobRefusedError) as caught:
        await box.runner.launch(spec)
    assert caught.value.reason is EndReason.LAUNCH


async def appraised(bench: Bench, **executable: Any) -> Appraisal:
    document = {
        "executable": {"kind": kinds.JUPYTER_NOTEBOOK, **executable},
        "compute": {"kind": kinds.SIMPLE_COMPUTE, "volumes": []},
    }
    return await bench.runner.estimate(document)


async def test_a_parameter_that_is_no_name_is_refused(box: Bench) -> None:
    found = await appraised(box, environment={"a; import os": "1", "class": "1", "fine": "1"})
    refused = [(remark.reason, remark.path) for remark in found.remarks[:-1]]
    assert refused == [
        (reasons.PARAMETER_NAME, "/executable/environment/a; import os"),
        (reasons.PARAMETER_NAME, "/executable/environment/class"),
    ]


@pytest.mark.parametrize(
    ("settings", "trouble"),
    [
        (NotebookSettings(python="/no/such/python"), "cannot be started"),
        (NotebookSettings(python="/bin/true"), "is not a Python that works"),
        (NotebookSettings(kernel="fortran77"), "lacks kernel fortran77"),
    ],
    ids=["missing", "not-python", "no-kernel"],
)
async def test_notebooks_are_refused_where_they_cannot_run(
    settings: NotebookSettings, trouble: str, new_bench: Benches
) -> None:
    bench = await new_bench(notebook=settings)
    assert kinds.JUPYTER_NOTEBOOK in bench.runner.kinds
    found = await appraised(bench)
    assert found.remarks[0].reason is reasons.NOTEBOOK_UNAVAILABLE
    assert trouble in found.remarks[0].values["detail"]


def test_without_the_section_notebooks_are_not_offered() -> None:
    assert LocalSettings().notebook is None


def test_texts_become_parameters_as_papermill_takes_them() -> None:
    texts = ["7", "-1.5", "1e3", "true", "False", "none", "None", "7 days", ""]
    found = [parameter(text) for text in texts]
    assert found == [7, -1.5, 1000.0, True, False, "none", None, "7 days", ""]
    assert os.environ.get("JUPYTER_DATA_DIR") is None
