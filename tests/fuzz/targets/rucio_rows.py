"""Rows of Rucio: holdings whose sizes add up, or the error of an answer that cannot be read."""

from collections.abc import Coroutine, Iterator
from typing import Any, Final, TypeVar

import msgspec

from gateway.clients.lakes.errors import LakeInvalidAnswerError
from gateway.clients.lakes.rows import decode_lines
from gateway.clients.lakes.rucio_rows import (
    DatasetRow,
    LinkRow,
    MetaRow,
    ReplicaRow,
    RseRow,
    SizeRow,
    collection_holding,
    dataset_part,
    exact_parts,
    file_holding,
    is_somewhere_whole,
)
from gateway.domain.holdings import Did, DidKind, Holding, Part

_DID: Final = Did("testing", "set")
_META: Final = msgspec.json.Decoder(MetaRow)
_REPLICAS: Final = msgspec.json.Decoder(ReplicaRow)
_DATASETS: Final = msgspec.json.Decoder(DatasetRow)
_RSES: Final = msgspec.json.Decoder(RseRow)
_LINKS: Final = msgspec.json.Decoder(LinkRow)

T = TypeVar("T")


def run(data: bytes) -> None:
    """The bytes as each sort of lines."""
    metas = _lines(data, _META) or []
    replicas = _lines(data, _REPLICAS) or []
    datasets = _lines(data, _DATASETS) or []
    _lines(data, _LINKS)
    rses = {row.rse: row for row in _lines(data, _RSES) or []}
    for meta in metas:
        assert meta.kind in DidKind
        for row in replicas:
            _check_holding(file_holding(meta, row))
    part = dataset_part(_DID, datasets, rses, SizeRow())
    is_somewhere_whole(part)
    parts = exact_parts(part, replicas)
    _check_holding(collection_holding(_DID, DidKind.DATASET, parts, is_approximate=False))
    _check_part(part)


def _lines(data: bytes, decoder: msgspec.json.Decoder[T]) -> list[T] | None:
    try:
        return _result(decode_lines(data, decoder))
    except LakeInvalidAnswerError:
        return None


def _result(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives that waits for nothing, as that of a small answer."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("it waits for something")


def _check_holding(holding: Holding) -> None:
    assert holding.bytes is None or holding.bytes >= 0
    for part in holding.parts:
        _check_part(part)


def _check_part(part: Part) -> None:
    for count in (part.bytes, part.files):
        assert count is None or count >= 0
    for copy in part.copies:
        assert copy.bytes is None or copy.bytes >= 0


def seeds() -> Iterator[bytes]:
    """As Rucio 41 writes them."""
    file = b'"scope":"testing","name":"a","bytes":2340000000000.0,"adler32":"0cc737eb","md5":null'
    urls = b'"rses":{"A":["davs://a/1"],"B":["root://b/1"]},"states":{"A":"AVAILABLE","B":"BAD"}'
    pfns = b'"pfns":{"davs://a/1":{"rse":"A","type":"TAPE","priority":1}}'
    yield b"{%s,%s,%s}\n{%s}" % (file, urls, pfns, file)
    yield b'{%s,"did_type":"FILE","length":1,"is_open":false}' % file
    yield (
        b'{"rse":"A","bytes":10,"length":2,"available_bytes":5,"available_length":1}\n'
        b'{"rse":"B","bytes":10,"length":2,"available_bytes":10.0,"available_length":2,'
        b'"availability_read":false,"rse_type":"TAPE"}'
    )
    yield b'{"src_rse":"A","dst_rse":"B","distance":1,"files":{"done-total-6h":3},"bytes":{}}'
