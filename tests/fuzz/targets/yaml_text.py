"""YAML from anybody: read or refused; what is written, readers of YAML 1.1 read the same."""

from collections.abc import Iterator

import yaml

from gateway.wire.codecs import yaml as codec
from gateway.wire.codecs.base import CodecError
from gateway.wire.codecs.roots import ROOT_DOCUMENT
from tests.fuzz.sameness import same
from tests.fuzz.samples import documents, settings_files


def run(data: bytes) -> None:
    """Refused with the codec's error, or written so that both versions read the same again."""
    try:
        tree = codec.decode(data)
    except CodecError:
        return
    text = codec.encode(tree, ROOT_DOCUMENT)
    assert same(codec.decode(text), tree)
    assert same(yaml.load(text, yaml.CSafeLoader), tree)


def seeds() -> Iterator[bytes]:
    """Documents, settings (which are YAML too), and what the language has beside."""
    for document in documents():
        yield codec.encode(document, ROOT_DOCUMENT)
    yield from settings_files("")
    yield b"%YAML 1.2\n---\na: &x [1, 0o17, .5, ~, 'it''s', \"\\u00e9\\x85\"]\nb: *x\n? c\n: 1"
    yield b"- |+2\n   a\n\n- >-\n  b\n  c\n- {d: , e}\n...\n"
