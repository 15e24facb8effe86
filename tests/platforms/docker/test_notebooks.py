"""Notebooks in containers, with the Python of this machine shown to them."""

import json
from typing import Any

import aiohttp

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.platforms.base import EndReason
from node_stub.platforms.docker.notebooks import TOKEN_FILE
from node_stub.platforms.docker.settings import NotebookSettings, SiteMount
from node_stub.platforms.runner import RunSpec
from tests.platforms.docker.bench import Bench
from tests.platforms.docker.conftest import Benches
from tests.support.engines import Engine
from tests.support.images import BUSYBOX, HOST_DIRECTORIES, HOST_PROGRAMS, host_programs

SITE_MOUNTS = tuple(SiteMount(source=place, target=place) for place in HOST_DIRECTORIES)


def notebook(*cells: str) -> bytes:
    """A notebook; its first cell holds the parameters."""
    made: list[Document] = [
        {
            "cell_type": "code",
            "id": f"cell-{i}",
            "metadata": {"tags": ["parameters"]} if i == 0 else {},
            "execution_count": None,
            "outputs": [],
            "source": cell,
        }
        for i, cell in enumerate(cells)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    document = {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4}
    return json.dumps({**document, "nbformat_minor": 5}).encode()


def spec_for(bench: Bench, content: bytes, **environment: str) -> RunSpec:
    """A job that runs a notebook."""
    executable: Document = {
        "kind": kinds.JUPYTER_NOTEBOOK,
        "location": "https://example.org/a.ipynb",
        "environment": environment,
    }
    spec = bench.spec_of(executable)
    spec.workspace.notebook.write_bytes(content)
    return spec


async def headless(new_bench: Benches, engine: Engine) -> Bench:
    """A bench that runs notebooks from beginning to end, with the command of the settings."""
    digest = host_programs(engine)
    settings = NotebookSettings(image=HOST_PROGRAMS, digest=digest)
    return await new_bench(engine, notebook=settings, site_mounts=SITE_MOUNTS)


async def test_a_notebook_is_run_with_its_parameters(engine: Engine, new_bench: Benches) -> None:
    bench = await headless(new_bench, engine)
    assert kinds.JUPYTER_NOTEBOOK in bench.runner.kinds
    content = notebook(
        "n = 1\nname = 'x'", "print(n * 2, name)", "open('out.txt', 'w').write(name)"
    )
    spec = spec_for(bench, content, n="21", name="a'b; $(id)")
    seen = await bench.run(spec)
    assert seen.reason is EndReason.OK, bench.log(spec)
    executed: dict[str, Any] = json.loads((spec.workspace.home / "notebook.ipynb").read_bytes())
    outputs = [
        out["text"] for cell in executed["cells"] for out in cell["outputs"] if "text" in out
    ]
    assert "".join(outputs[0]) == "42 a'b; $(id)\n"
    assert "42 a" in (spec.workspace.home / "notebook.html").read_text()
    assert (spec.workspace.home / "out.txt").read_text() == "a'b; $(id)"
    results = {path.name for path in spec.workspace.home.iterdir()}
    assert results >= {"notebook.ipynb", "notebook.html", "out.txt"}
    assert not {name for name in results if "ipython" in name}


async def test_a_notebook_that_fails_leaves_what_it_did(engine: Engine, new_bench: Benches) -> None:
    bench = await headless(new_bench, engine)
    spec = spec_for(bench, notebook("n = 1", "raise ValueError('the reason')"))
    seen = await bench.run(spec)
    assert seen.reason is EndReason.NONZERO
    assert "the reason" in (spec.workspace.home / "notebook.html").read_text()


async def test_a_notebook_server_is_reached_and_its_token_is_the_owners_alone(
    engine: Engine, new_bench: Benches
) -> None:
    settings = NotebookSettings(
        image=BUSYBOX,
        interactive=True,
        command=("sh", "-c", 'test -n "$JUPYTER_TOKEN" && exec httpd -f -p 8888 -h /session'),
        path="/notebook.ipynb",
    )
    bench = await new_bench(engine, notebook=settings)
    content = notebook("n = 1")
    spec = spec_for(bench, content)
    await bench.start(spec)
    seen = await bench.becomes_reachable(spec, 1)
    token_file = spec.workspace.home / TOKEN_FILE
    token = token_file.read_text()
    assert len(token) > 30
    assert token_file.stat().st_mode & 0o777 == 0o600
    location = seen.reachable[0].location
    assert token not in location
    assert token not in json.dumps(bench.inspect(spec)["Config"]["Cmd"])
    async with aiohttp.ClientSession() as session, session.get(location) as response:
        assert await response.read() == content
    await bench.restart()
    assert (await bench.becomes_reachable(spec, 1)).reachable == seen.reachable
    await bench.runner.stop(spec.workspace, 0.0)
    assert (await bench.end(spec)).reason is EndReason.CANCELLED


async def test_notebooks_are_not_run_where_the_site_does_not_say_how(bench: Bench) -> None:
    assert bench.runner.kinds == {kinds.DOCKER_CONTAINER}
