"""Runs one notebook, headless: a program of its own in the Python that the site has for notebooks.

Started as ``python -I notebook_job.py ORDERS.json``. What the cells print goes to our own output as
it comes. The executed notebook and its HTML are left beside each other, also when a cell fails or
when the job is stopped. Exit code 0; 1 when a cell failed, with the error at the end of stderr;
`BAD_NOTEBOOK` when the notebook itself cannot be run.
"""

import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn, TypedDict

BAD_NOTEBOOK: Final = 2
"""Exit code: no notebook, or one for a kernel that is not here."""

RESULT: Final = "notebook.ipynb"
"""The executed notebook, below the results."""

RESULT_HTML: Final = "notebook.html"
"""The executed notebook to look at."""

START_WITHIN_S: Final = 120
"""A kernel on a busy machine takes its time, and the session has its own end."""

_LONGEST_SOCKET: Final = 107 - len("-ipc-5")  # of sun_path, unix(7); five sockets, numbered
_STOPPED: Final = 143
_NOT_NOTEBOOKS: Final = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What reading JSON that is no notebook raises."""


class Orders(TypedDict):
    """What to run.

    ``texts`` are parameters as an environment has them, taken as numbers, true, false or none
    where they read so; ``values`` are parameters as they are.
    """

    notebook: str
    results: str
    kernel: str
    texts: dict[str, str]
    values: dict[str, Any]


class StoppedError(BaseException):
    """The job was asked to end; not an error that anything on the way may handle."""


class BadNotebookError(Exception):
    """The notebook cannot be run, whatever is in its cells."""


def parameter(text: str) -> Any:
    """A parameter out of a text, as papermill's own command line takes it."""
    words = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None}
    if text in words:
        return words[text]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _stop(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise StoppedError


@contextlib.contextmanager
def _own_directories() -> Iterator[Path]:
    """Jupyter's files, and caches, in a directory that goes away, and not in the job's home."""
    with tempfile.TemporaryDirectory(prefix="nb-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        for variable in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            os.environ[variable] = str(place / variable[8:11].lower())
        os.environ["IPYTHONDIR"] = str(place / "ipython")
        os.environ.setdefault("MPLCONFIGDIR", str(place / "matplotlib"))
        os.environ.setdefault("XDG_CACHE_HOME", str(place / "cache"))
        yield place


def _load(orders: Orders) -> Any:
    """The notebook, if it is one that the kernel can run."""
    import nbformat  # noqa: PLC0415  # once Jupyter's directories are set, as below
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel  # noqa: PLC0415

    try:
        book = nbformat.read(orders["notebook"], as_version=4)  # type: ignore[no-untyped-call]
        metadata = book.metadata
        len(book.cells)
        spec = KernelSpecManager().get_kernel_spec(orders["kernel"])
    except NoSuchKernel as error:
        raise BadNotebookError(f"NoSuchKernel: {error}") from error
    except _NOT_NOTEBOOKS as error:
        raise BadNotebookError(f"not a notebook: {type(error).__name__}: {error}") from error
    except nbformat.ValidationError as error:
        raise BadNotebookError(f"not a notebook: {error.message}") from error
    language = metadata.get("kernelspec", {}).get("language", spec.language)
    if language.lower() != spec.language.lower():
        raise BadNotebookError(f"the notebook is in {language}, the kernel runs {spec.language}")
    return book


def _run(book: Any, orders: Orders, result: Path, runtime: Path) -> None:
    from papermill import execute_notebook  # type: ignore[import-untyped]  # noqa: PLC0415
    from traitlets.config import Config  # noqa: PLC0415

    config = Config()
    # Sockets in a directory of ours: TCP ports would be open to everybody on the machine.
    socket = runtime / "k"
    if len(str(socket)) <= _LONGEST_SOCKET:
        config.KernelManager.transport = "ipc"
        config.KernelManager.ip = str(socket)
    texts = {name: parameter(text) for name, text in orders["texts"].items()}
    execute_notebook(
        book,
        str(result),
        parameters={**texts, **orders["values"]},
        kernel_name=orders["kernel"],
        progress_bar=False,
        log_output=False,
        stdout_file=sys.stdout,
        stderr_file=sys.stderr,
        start_timeout=START_WITHIN_S,
        cwd=orders["results"],
        config=config,
    )


def _write_html(result: Path) -> None:
    """Write it as HTML, if it was executed at all."""
    from nbconvert import HTMLExporter  # noqa: PLC0415

    if result.exists():
        html, _ = HTMLExporter().from_filename(str(result))  # type: ignore[no-untyped-call]
        result.with_name(RESULT_HTML).write_text(html, "utf-8")


def run(orders: Orders) -> int:
    """Run the notebook; the exit code."""
    result = Path(orders["results"]) / RESULT
    with _own_directories() as place:
        try:
            code = _executed(orders, result, place)
        except StoppedError:
            code = _STOPPED
        except BadNotebookError as error:
            code = _report(BAD_NOTEBOOK, str(error))
        _write_html(result)
    return code


def _executed(orders: Orders, result: Path, place: Path) -> int:
    book = _load(orders)
    from nbclient.exceptions import CellExecutionError, DeadKernelError  # noqa: PLC0415
    from papermill.exceptions import (  # type: ignore[import-untyped]  # noqa: PLC0415
        PapermillException,
        PapermillExecutionError,
    )

    try:
        _run(book, orders, result, place)
    except (PapermillExecutionError, CellExecutionError) as error:
        return _report(1, f"{error.ename}: {error.evalue}")
    except DeadKernelError:
        return _report(1, "DeadKernelError: the kernel died")
    except PapermillException as error:
        raise BadNotebookError(f"{type(error).__name__}: {error}") from error
    return 0


def _report(code: int, text: str) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"\n{text}\n")
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(run(json.loads(Path(sys.argv[1]).read_text("utf-8"))))
