"""Notebooks in containers: run from beginning to end, or opened in a server of the user's own.

A server wants a token. It is made here, kept with the runner's files, and lies in the session's
home as :data:`TOKEN_FILE`, where only the session's owner gets at it; no location and no command
line shows it.
"""

import os
import secrets
import shutil
from pathlib import Path
from typing import Final

from gateway.wire.documents import Document
from node_stub.platforms.docker.containers import Program
from node_stub.platforms.docker.records import Port
from node_stub.platforms.docker.settings import (
    HEADLESS_COMMAND,
    INPUT_DIRECTORY,
    INTERACTIVE_COMMAND,
    NotebookSettings,
)
from node_stub.platforms.runner import Workspace

TOKEN_FILE: Final = "jupyter-token"  # noqa: S105  # the name of a file
"""The file in the session's home that opens its server."""

SCRATCH: Final = {"IPYTHONDIR": "/tmp/ipython", "JUPYTER_RUNTIME_DIR": "/tmp/jupyter"}  # noqa: S108
"""Where a kernel leaves what is nobody's result: in the container, not in the session's home."""

_NAME: Final = "notebook.ipynb"


def image_document(notebook: NotebookSettings) -> Document:
    """The image that notebooks run in, as a request would ask for it."""
    return {"locations": [notebook.image], "digest": notebook.digest}


def notebook_program(
    executable: Document, notebook: NotebookSettings, workspace: Workspace
) -> Program:
    """What runs a notebook that lies in the workspace. Blocks: it writes files for a server."""
    environment = dict(executable.get("environment") or {})
    inputs = {f"{INPUT_DIRECTORY}/{_NAME}": workspace.notebook}
    if not notebook.interactive:
        parameters = [word for item in environment.items() for word in ("-p", *item)]
        return Program(
            entrypoint=notebook.command or HEADLESS_COMMAND,
            command=tuple(parameters),
            environment={**SCRATCH, **environment},
            inputs=inputs,
        )
    token = _token(workspace)
    return Program(
        entrypoint=notebook.command or INTERACTIVE_COMMAND,
        command=(),
        environment={**SCRATCH, **environment, "JUPYTER_TOKEN": token},
        ports=(Port(index=0, number=notebook.port, protocol="HTTP", path=notebook.path),),
        inputs=inputs,
    )


def _token(workspace: Workspace) -> str:
    """The token of a session's server: made once; the notebook is put beside it, to be changed."""
    own = workspace.run / TOKEN_FILE
    try:
        return own.read_text()
    except FileNotFoundError:
        token = secrets.token_urlsafe(32)
    copy = workspace.home / _NAME
    if not copy.exists():
        shutil.copyfile(workspace.notebook, copy)
        copy.chmod(0o666)
    # The runner's own last: with it, all of this has been done.
    for path in (workspace.home / TOKEN_FILE, own):
        _write_secret(path, token)
    return token


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def forget(workspace: Workspace) -> None:
    """Remove what was written beside the records. Blocks."""
    (workspace.run / TOKEN_FILE).unlink(missing_ok=True)
