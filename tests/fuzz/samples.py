"""Where seeds come from: the documents of the tests, the public samples, the example settings."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.wire import kinds
from gateway.wire.documents import Document
from tests.support.documents import offer, offerset, request

_ROOT: Final = Path(__file__).parents[2]
_CONFIG_DIR: Final = _ROOT / "config"
_SAMPLES_DIR: Final = _ROOT.parent / "shared" / "contract" / "samples"

UPDATE: Final[Document] = {"kind": kinds.ENUM_UPDATE, "path": "phase", "value": "ACCEPTED"}
"""An acceptance."""


def documents() -> Iterator[Document]:
    """Documents of the wire; the public samples only where they lie beside the checkout."""
    yield from (request(), offer(), offerset(offer()), UPDATE)
    for path in sorted(_SAMPLES_DIR.glob("*.json")):
        document = json.loads(path.read_bytes())
        if isinstance(document, dict):
            yield document


def settings_files(start: str) -> Iterator[bytes]:
    """The example settings whose name begins so."""
    for path in sorted(_CONFIG_DIR.glob(f"{start}*.yaml")):
        yield path.read_bytes()
