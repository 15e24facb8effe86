"""Which notebook an executable means: one at a URL, or one among the session's own data. Pure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.staging import reasons
from node_stub.staging.errors import RefusedError, SourceError
from node_stub.staging.layout import uuid_of
from node_stub.staging.plans import Location
from node_stub.staging.reading import block, components, text

MAX_NOTEBOOK_BYTES: Final = 64 << 20
"""A notebook with many pictures has some ten MB; papermill and browsers hold it in memory."""

SUFFIX: Final = ".ipynb"


@dataclass(frozen=True, slots=True)
class NotebookPlan:
    """The notebook to run: either a URL, or the data resource that it is in."""

    location: Location | None = None
    data: UUID | None = None


def plan_notebook(document: Document) -> NotebookPlan | None:
    """The notebook that the executable means; None if it is another kind of executable.

    A location without ``://`` is the name or the UUID of a data resource; so is any other text
    that is the name of one.

    Raises
    ------
    RefusedError
        It names several, or none.
    """
    executable = block(document, "executable")
    if executable.get("kind") != kinds.JUPYTER_NOTEBOOK:
        return None
    location = (text(executable, "location") or "").strip()
    named = {
        uuid_of(data)
        for data in components(document, "data")
        if location in {text(block(data, "meta"), "name"), data["meta"]["uuid"]}
    }
    if len(named) > 1:
        raise RefusedError(reasons.NOTEBOOK_AMBIGUOUS, location=location)
    if named:
        return NotebookPlan(data=named.pop())
    return NotebookPlan(location=Location(location, "/location"))


def chosen_notebook(folder: Path) -> Path:
    """The notebook in the directory of a data resource. Blocks: call it in a thread.

    Raises
    ------
    SourceError
        There is none, or more than one, or it is too large.
    """
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    if len(files) != 1:
        files = [path for path in files if path.suffix == SUFFIX]
    if len(files) != 1:
        raise SourceError(f"the data has {len(files)} notebooks, not one")
    if files[0].stat().st_size > MAX_NOTEBOOK_BYTES:
        raise SourceError(f"the notebook is larger than {MAX_NOTEBOOK_BYTES} bytes")
    return files[0]
