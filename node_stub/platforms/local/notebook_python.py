"""The Python that runs notebooks: whether it can, and what a sandbox must show of it."""

import asyncio
import contextlib
import json
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import dataclass
from typing import Final

from node_stub.platforms.local.settings import NotebookSettings

MODULES: Final = ("papermill", "nbconvert", "ipykernel", "jupyter_client")
"""What a notebook needs; the extra ``notebook`` of this package installs them."""

CHECK_WITHIN_S: Final = 30.0
"""A Python on a slow file system takes some seconds to look; one that takes longer is stuck."""

_CHECK: Final = """
import importlib.util, json, os, sys
missing = [name for name in sys.argv[2:] if importlib.util.find_spec(name) is None]
if not missing:
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    try:
        KernelSpecManager().get_kernel_spec(sys.argv[1])
    except NoSuchKernel:
        missing = ["kernel " + sys.argv[1]]
real = os.path.dirname(os.path.realpath(sys.executable))
print(json.dumps({"missing": missing, "paths": [sys.prefix, sys.base_prefix, real]}))
"""
_MOST_OUTPUT: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class NotebookPython:
    """The Python for notebooks. ``trouble`` is why it cannot run any, empty if it can."""

    python: str
    kernel: str
    paths: tuple[str, ...] = ()
    trouble: str = ""


async def look_at(settings: NotebookSettings) -> NotebookPython:
    """Ask the configured Python what it has."""
    found = NotebookPython(settings.python, settings.kernel, settings.paths)
    arguments = (settings.python, "-I", "-c", _CHECK, settings.kernel, *MODULES)
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, env={}
        )
        said = await _output(process)
        answer = json.loads(said)
    except OSError as error:
        return _troubled(found, f"{settings.python} cannot be started: {error.strerror}")
    except TimeoutError:
        return _troubled(found, f"{settings.python} gave no answer in {CHECK_WITHIN_S:.0f} s")
    except ValueError:
        return _troubled(found, f"{settings.python} is not a Python that works")
    if answer["missing"]:
        lacking = ", ".join(answer["missing"])
        return _troubled(found, f"{settings.python} lacks {lacking}: install the extra 'notebook'")
    paths = dict.fromkeys((*answer["paths"], *settings.paths))
    return NotebookPython(settings.python, settings.kernel, tuple(paths))


async def _output(process: Process) -> bytes:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(CHECK_WITHIN_S):
            said = await process.stdout.read(_MOST_OUTPUT)
            await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return said


def _troubled(found: NotebookPython, trouble: str) -> NotebookPython:
    return NotebookPython(found.python, found.kernel, found.paths, trouble)
