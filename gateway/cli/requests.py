"""ExecutionRequests in files."""

import sys
from pathlib import Path
from typing import Final

from gateway.wire.codecs.base import CodecError
from gateway.wire.codecs.registry import codec_for_content_type
from gateway.wire.documents import Document

STANDARD_INPUT: Final = "-"
"""The file name that means standard input."""

_MEDIA_TYPES: Final = {".json": "application/json", ".xml": "application/xml"}
_YAML: Final = "application/yaml"


class RequestFileError(Exception):
    """The file cannot be read as a request."""


def load_request(name: str) -> Document:
    """The request in a file: JSON and XML by the file's suffix, else YAML.

    Raises
    ------
    RequestFileError
        There is no such file, or it holds no single object.
    """
    path = Path(name)
    try:
        body = sys.stdin.buffer.read() if name == STANDARD_INPUT else path.read_bytes()
    except OSError as error:
        raise RequestFileError(f"cannot read {name}: {error.strerror}") from error
    codec = codec_for_content_type(_MEDIA_TYPES.get(path.suffix.lower(), _YAML))
    if codec is None:
        raise AssertionError("every media type named here has its codec")
    try:
        document = codec.decode(body)
    except CodecError as error:
        raise RequestFileError(f"{name}: {error}") from error
    if not isinstance(document, dict):
        raise RequestFileError(f"{name} holds no request: an object with members is needed")
    return document
