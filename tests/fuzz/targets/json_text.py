"""JSON from anybody: read as the standard library reads it, or refused; written back the same."""

import json
from collections.abc import Iterator
from typing import Any

from gateway.wire.codecs import json as codec
from gateway.wire.codecs import xml, yaml
from gateway.wire.codecs.base import CodecError
from gateway.wire.codecs.roots import ROOT_DOCUMENT
from tests.fuzz.sameness import same, texts_of
from tests.fuzz.samples import documents


def run(data: bytes) -> None:
    """Refused with the codec's error, or the same value in all three codecs."""
    try:
        tree = codec.decode(data)
    except CodecError:
        return
    assert same(tree, json.loads(data.decode("utf-8-sig")))
    assert same(codec.decode(codec.encode(tree, ROOT_DOCUMENT)), tree)
    assert same(yaml.decode(yaml.encode(tree, ROOT_DOCUMENT)), tree)
    _check_xml(tree)


def _check_xml(tree: Any) -> None:
    try:
        text = xml.encode(tree, ROOT_DOCUMENT)
    except CodecError:
        assert any(map(xml._NOT_XML.search, texts_of(tree)))
        return
    assert same(xml.decode(text), tree)


def seeds() -> Iterator[bytes]:
    """Documents."""
    for document in documents():
        yield codec.encode(document, ROOT_DOCUMENT)
    yield b'\xef\xbb\xbf{"a": ["\\ud83d\\ude00", -0.0, 1e-400, 9223372036854775807, null, true]}'
