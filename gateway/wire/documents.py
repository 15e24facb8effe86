"""Wire documents as JSON trees, and their JSON text."""

from typing import Any, Final, TypeAlias

import msgspec

Document: TypeAlias = dict[str, Any]
"""A JSON object that is carried through: only views of it are read."""

_ENCODER: Final = msgspec.json.Encoder()
_CANONICAL: Final = msgspec.json.Encoder(order="deterministic")
_DECODER: Final = msgspec.json.Decoder()


def to_json(document: Any) -> bytes:
    """The compact JSON text; members keep their order."""
    return _ENCODER.encode(document)


def to_canonical_json(document: Any) -> bytes:
    """The same text for documents that differ only in the order of their members."""
    return _CANONICAL.encode(document)


def from_json(text: bytes | str) -> Any:
    """The tree that JSON text of our own making says.

    For text from outside use the JSON codec, which also limits depth and refuses duplicate members.

    Raises
    ------
    ValueError
        The text is not JSON.
    """
    return _DECODER.decode(text)
