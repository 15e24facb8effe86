"""What Rucio's rows come to: sums stay sums, and numbers that make no sense are none."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clients.lakes.errors import LakeInvalidAnswerError
from gateway.clients.lakes.rows import LARGE_BYTES, decode, decode_lines, to_count
from gateway.clients.lakes.rucio_rows import (
    DatasetRow,
    LinkRow,
    MetaRow,
    ReplicaRow,
    RseRow,
    SizeRow,
    dataset_part,
    exact_parts,
    file_holding,
)
from gateway.domain.holdings import Did, Part

DATASET = Did("test", "d")
RSES = ("UK", "JP", "ZA")


@pytest.mark.parametrize(
    ("number", "count"),
    [(2340000000000.0, 2340000000000), (0, 0), (None, None), (-1, None), (1e400, None)],
)
def test_sums_may_come_as_floats(number: float | None, count: int | None) -> None:
    assert to_count(number) == count


@pytest.mark.parametrize("rows", [1, 2 * LARGE_BYTES // 40])
async def test_answers_are_read_alike_whatever_their_size(rows: int) -> None:
    decoder = msgspec.json.Decoder(RseRow)
    line = b'{"rse": "UK", "availability_read": true}'
    assert len(await decode_lines(b"\n".join([line] * rows), decoder)) == rows
    with pytest.raises(LakeInvalidAnswerError):
        await decode_lines(b"\n".join([line] * rows) + b"\n{", decoder)
    many = msgspec.json.Decoder(list[RseRow])
    found: list[RseRow] = await decode(b"[" + b",".join([line] * rows) + b"]", many)
    assert len(found) == rows


files = st.lists(
    st.tuples(st.integers(0, 10**12), st.frozensets(st.sampled_from(RSES))), max_size=30
)


@given(files, st.integers(0, 5), st.integers(0, 10**6))
def test_exact_parts_have_all_the_bytes_and_files_of_the_whole(
    held: list[tuple[int, frozenset[str]]], lost: int, lost_bytes: int
) -> None:
    lost_bytes = lost_bytes if lost else 0
    whole = Part("test:d", sum(size for size, _ in held) + lost_bytes, len(held) + lost)
    rows = [
        ReplicaRow("test", f"{index}", bytes=size, rses={rse: [] for rse in rses})
        for index, (size, rses) in enumerate(held)
    ]
    parts = exact_parts(whole, rows)
    assert sum(part.bytes or 0 for part in parts) == whole.bytes
    assert sum(part.files or 0 for part in parts) == whole.files
    for rse in RSES:
        there = sum(
            copy.bytes or 0 for part in parts for copy in part.copies if copy.place.rse == rse
        )
        assert there == sum(size for size, rses in held if rse in rses)
    assert all(copy.is_complete for part in parts for copy in part.copies)


def test_more_than_all_there_is_cannot_be_there() -> None:
    row = DatasetRow("UK", bytes=10, length=2, available_bytes=99, available_length=1)
    (copy,) = dataset_part(DATASET, [row], {}, SizeRow()).copies
    assert (copy.bytes, copy.is_complete) == (10, False)


def test_storage_without_a_single_file_has_no_copy() -> None:
    row = DatasetRow("UK", bytes=10, length=2, available_bytes=0, available_length=0)
    assert dataset_part(DATASET, [row], {}, SizeRow()).copies == ()


def test_tape_and_blocked_storage_are_known_from_the_table() -> None:
    rows = [DatasetRow(rse, 10, 2, 10, 2) for rse in ("A", "B")]
    table = {"A": RseRow("A", rse_type="TAPE"), "B": RseRow("B", availability_read=False)}
    tape, blocked = dataset_part(DATASET, rows, table, SizeRow()).copies
    assert (tape.is_tape, tape.is_readable) == (True, True)
    assert (blocked.is_tape, blocked.is_readable) == (False, False)


def test_a_replica_that_is_not_available_is_no_copy() -> None:
    row = ReplicaRow("test", "f", rses={"UK": ["u"], "JP": ["j"]}, states={"JP": "BAD"})
    holding = file_holding(MetaRow("test", "f", "FILE", bytes=7), row)
    assert [copy.place.rse for copy in holding.parts[0].copies] == ["UK"]
    assert holding.bytes == 7


def test_urls_are_in_the_order_of_their_priority() -> None:
    document = {
        "scope": "test",
        "name": "f",
        "rses": {"UK": ["third", "first", "second"]},
        "pfns": {
            "first": {"rse": "UK", "priority": 1},
            "second": {"rse": "UK", "priority": 2},
        },
    }
    row = msgspec.convert(document, ReplicaRow)
    (copy,) = file_holding(MetaRow("test", "f", "FILE"), row).parts[0].copies
    assert copy.urls == ("first", "second", "third")


def test_counts_of_transfers_are_read_by_their_names() -> None:
    line = (
        b'{"src_rse": "A", "dst_rse": "B", "distance": 3, '
        b'"files": {"done-total-1h": 1, "done-total-6h": 7, "queued-total": 2}, '
        b'"bytes": {"done-total-6h": 700.0}}'
    )
    row = msgspec.json.decode(line, type=LinkRow)
    assert row.files is not None
    assert row.bytes is not None
    assert (row.files.done, row.files.failed, row.files.queued) == (7, None, 2)
    assert row.bytes.done == 700
