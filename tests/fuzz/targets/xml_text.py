"""XML from anybody: read or refused; the same document under every root element."""

from collections.abc import Iterator
from typing import Final

from gateway.wire.codecs import xml as codec
from gateway.wire.codecs.base import CodecError
from gateway.wire.codecs.roots import (
    ROOT_DOCUMENT,
    ROOT_OFFERSET,
    ROOT_REQUEST,
    ROOT_SCHEMAS,
    ROOT_SESSION,
    ROOT_UPDATE,
)
from tests.fuzz.sameness import same
from tests.fuzz.samples import documents

_ROOTS: Final = (ROOT_DOCUMENT, *ROOT_SCHEMAS)


def run(data: bytes) -> None:
    """Refused with the codec's error, or the same again, whatever the schema says of its types."""
    try:
        tree = codec.decode(data)
    except CodecError:
        return
    # One of them for each input, or it takes eight times as long.
    root = _ROOTS[len(data) % len(_ROOTS)]
    assert same(codec.decode(codec.encode(tree, root)), tree), root


def seeds() -> Iterator[bytes]:
    """Documents under several roots, and what people write by hand."""
    for document in documents():
        for root in (ROOT_DOCUMENT, ROOT_REQUEST, ROOT_OFFERSET, ROOT_SESSION, ROOT_UPDATE):
            yield codec.encode(document, root)
    yield b"<update xmlns:xsi='x' xsi:a='b'><kind>k</kind><value type='null'/></update>"
    yield b"<document><entry name='a b' type='array'><item>&#13;&lt;</item></entry></document>"
    yield b"<?xml version='1.0' encoding='UTF-16'?><document/>"
    yield "<document>\ufeff<![CDATA[a]]><!-- b --><?c d?></document>".encode("utf-16")
