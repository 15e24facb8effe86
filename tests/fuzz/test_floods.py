"""The largest body that is read, made to cost the most: no time grows with the square."""

import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from gateway.httpkit.server_settings import DEFAULT_MAX_BODY_BYTES
from gateway.wire.codecs.base import Codec, CodecError
from gateway.wire.codecs.registry import JSON, XML, YAML

CPU_S = 5.0
"""All of them take less than half a second; those that were squares took more than twenty."""


def repeated(start: str, each: str, end: str) -> bytes:
    """As many as a body holds; ``{}`` in ``each`` is another number every time."""
    size = len(each.format(f"{0:x}")) + 4
    count = (DEFAULT_MAX_BODY_BYTES - len(start) - len(end)) // size
    return (start + "".join(each.format(f"{n:x}") for n in range(count)) + end).encode()


FLOODS: list[tuple[str, Codec, Callable[[], bytes]]] = [
    ("names, the last twice", JSON, lambda: repeated("{", '"{}":0,', '"z":0,"z":0}')),
    ("brackets", JSON, lambda: b"[" * DEFAULT_MAX_BODY_BYTES),
    ("digits", JSON, lambda: b"1" * DEFAULT_MAX_BODY_BYTES),
    ("digits of a fraction", JSON, lambda: b"0." + b"1" * (DEFAULT_MAX_BODY_BYTES - 2)),
    ("escapes", JSON, lambda: repeated('"', "\\u0041", '"')),
    ("empty lists", JSON, lambda: repeated("[", "[],", "0]")),
    ("tags declared", YAML, lambda: repeated("", "%TAG !{}! a\n", "--- a\n")),
    ("tags declared on other lines", YAML, lambda: repeated("", "%TAG !{}! a\r", "--- a\r")),
    ("anchors", YAML, lambda: repeated("[", "&{} a, ", "b]")),
    ("aliases", YAML, lambda: repeated("[&a a, ", "*a, ", "b]")),
    ("documents", YAML, lambda: repeated("", "--- a\n", "")),
    ("names", YAML, lambda: repeated("{{", "a{}: b, ", "c: d}").replace(b"{{", b"{")),
    ("simple keys that are none", YAML, lambda: repeated("", "a{}\n", "")),
    ("questions", YAML, lambda: b"? " * (DEFAULT_MAX_BODY_BYTES // 2)),
    ("dashes", YAML, lambda: b"- " * (DEFAULT_MAX_BODY_BYTES // 2)),
    ("open quotes", YAML, lambda: repeated('"', "a{}\n", "")),
    ("digits", YAML, lambda: b"1" * DEFAULT_MAX_BODY_BYTES),
    ("attributes", XML, lambda: repeated("<document", ' xmlns:a{}=""', "/>")),
    ("elements", XML, lambda: repeated("<document>", "<a{}/>", "</document>")),
    ("depth", XML, lambda: b"<document>" + b"<a>" * (DEFAULT_MAX_BODY_BYTES // 3 - 4)),
    ("references", XML, lambda: repeated("<document type='string'>", "&#65;", "</document>")),
    ("an open comment", XML, lambda: b"<document><!--" + b"- " * (DEFAULT_MAX_BODY_BYTES // 3)),
    ("digits", XML, lambda: repeated("<document type='number'>", "11111111", "</document>")),
]
"""What is repeated, in which codec, and the body."""


@pytest.mark.parametrize(
    ("codec", "body"),
    [(codec, body) for _, codec, body in FLOODS],
    ids=[f"{codec.media_type.rpartition('/')[2]}-{name}" for name, codec, _ in FLOODS],
)
def test_no_body_takes_long_to_read(codec: Codec, body: Callable[[], bytes]) -> None:
    text = body()
    assert DEFAULT_MAX_BODY_BYTES // 3 < len(text) <= DEFAULT_MAX_BODY_BYTES
    start = time.thread_time()
    with suppress(CodecError):
        codec.decode(text)
    assert time.thread_time() - start < CPU_S
