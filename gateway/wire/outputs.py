"""What came out of a session, on the wire: where it is read, its connectors, pieces of a log.

Ours, beyond the ExecutionBroker schema: node and gateway serve the same paths, so that a client
needs the session's UUID and nothing else.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote
from uuid import UUID

from gateway.wire.documents import Document

STDOUT: Final = "stdout"
"""Name of the stream of what a job writes."""

STDERR: Final = "stderr"
"""Name of the stream of what a job writes to complain."""

STREAMS: Final = (STDOUT, STDERR)
"""Names of all streams."""

CONNECTOR_KIND: Final = "urn:execbroker:connector:"
"""What the kinds of our connectors begin with."""

RESULTS: Final = "results"
"""Name of the list of what came out."""

CHUNK_EVENT: Final = "chunk"
"""Server-sent event: a piece of a log, as `to_piece` writes it; its id is where the next begins."""

END_EVENT: Final = "end"
"""Server-sent event: nothing more will come; says how the session ended."""

HEARTBEAT_S: Final = 15.0
"""A stream of events is never silent for longer."""

_MAX_TAIL: Final = 3
"""Bytes of a UTF-8 character that may be there before its last."""


def results_url(base_url: str, session: UUID | str) -> str:
    """Where the list of what came out is read."""
    return f"{base_url}/sessions/{session}/results"


def stream_url(base_url: str, session: UUID | str, name: str) -> str:
    """Where a log is read and followed."""
    return f"{base_url}/streams/{session}/{name}"


def file_url(base_url: str, session: UUID | str, path: str) -> str:
    """Where a file that came out is read."""
    return f"{base_url}/results/{session}/{quote(path)}"


def is_file_path(path: str) -> bool:
    """Whether a path can be that of a file that came out: relative, with names only.

    Anything else is asked of nobody: in a URL it would lead elsewhere.
    """
    return not any(part in {"", ".", ".."} or "\0" in part for part in path.split("/"))


def output_urls(base_url: str, session: UUID | str) -> Mapping[str, str]:
    """Where each connector of what came out leads, by kind."""
    urls = {CONNECTOR_KIND + name: stream_url(base_url, session, name) for name in STREAMS}
    return urls | {CONNECTOR_KIND + RESULTS: results_url(base_url, session)}


def with_urls(results: Document, base_url: str) -> Document:
    """A list of what came out with every URL below ``base_url``; the original stays as it is."""
    session = results["session"]
    return results | {
        "streams": [
            entry | {"url": stream_url(base_url, session, entry["name"])}
            for entry in _listed(results, "streams")
        ],
        "files": [
            entry | {"url": file_url(base_url, session, entry["path"])}
            for entry in _listed(results, "files")
        ],
    }


def to_piece(offset: int, data: bytes) -> Document:
    """A piece of a log as the data of an event: its text, or base64 where it is no UTF-8."""
    try:
        return {"offset": offset, "text": data.decode()}
    except UnicodeDecodeError:
        return {"offset": offset, "base64": base64.b64encode(data).decode("ascii")}


def from_piece(piece: Document) -> tuple[int, bytes]:
    """Offset and bytes of a piece.

    Raises
    ------
    ValueError
        It is none.
    """
    match piece:
        case {"offset": int(offset), "text": str(text)}:
            return offset, text.encode()
        case {"offset": int(offset), "base64": str(coded)}:
            try:
                return offset, base64.b64decode(coded, validate=True)
            except binascii.Error as error:
                raise ValueError("a piece of a log that is no base64") from error
        case _:
            raise ValueError("no piece of a log")


def whole_characters(data: bytes) -> int:
    """How many of these bytes to send now: all but a UTF-8 character that is not complete.

    Where nothing else is there, all of them.
    """
    for length in range(1, min(_MAX_TAIL, len(data)) + 1):
        byte = data[-length]
        if byte & 0b1100_0000 == 0b1000_0000:
            continue
        needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return len(data) - length if length < needed and length < len(data) else len(data)
    return len(data)


def _listed(document: Document, member: str) -> Iterable[Document]:
    return document.get(member) or ()
