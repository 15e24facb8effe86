"""What was measured before, and the room that is left."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_stub.staging.errors import StorageError
from node_stub.staging.rates import MAX_HOSTS, Rates
from node_stub.staging.room import Room

MIB = 1 << 20


def test_a_rate_is_remembered_over_a_restart(tmp_path: Path) -> None:
    rates = Rates(tmp_path / "rates.json", 50e6)
    assert rates.pending() is None
    rates.note("a.org", 10 * MIB, 1.0)
    save = rates.pending()
    assert save is not None
    save()

    again = Rates(tmp_path / "rates.json", 50e6)
    again.load()

    assert again.bytes_per_s("a.org") == 10 * MIB
    assert again.bytes_per_s("b.org") == 50e6


@given(st.lists(st.floats(min_value=0.01, max_value=1000), min_size=1))
def test_a_rate_stays_between_the_slowest_and_the_fastest(seconds: list[float]) -> None:
    rates = Rates(Path("unused"), 1.0)
    for took_s in seconds:
        rates.note("h", MIB, took_s)

    slowest, fastest = MIB / max(seconds), MIB / min(seconds)
    assert slowest * 0.999 <= rates.bytes_per_s("h") <= fastest * 1.001


def test_little_files_measure_nothing() -> None:
    rates = Rates(Path("unused"), 50e6)
    rates.note("h", 1000, 10.0)

    assert rates.bytes_per_s("h") == 50e6


def test_hosts_heard_of_longest_ago_are_forgotten() -> None:
    rates = Rates(Path("unused"), 1.0)
    for i in range(MAX_HOSTS + 1):
        rates.note("first" if i % 100 == 0 else f"h{i}", MIB, 1.0)
    for i in range(200):
        rates.note(f"k{i}", MIB, 1.0)

    assert rates.bytes_per_s("h1") == 1.0
    assert rates.bytes_per_s("first") == MIB


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": "b"}', b"\xff"])
def test_a_spoilt_file_is_no_measurement(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rates.json").write_bytes(content)
    rates = Rates(tmp_path / "rates.json", 7.0)

    rates.load()

    assert rates.bytes_per_s("h") == 7.0


@given(st.integers(0, 100), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60))))
def test_a_room_never_holds_more_than_its_limit(limit: int, steps: list[tuple[int, int]]) -> None:
    room = Room(limit)
    leases = [room.lease() for _ in range(4)]
    sizes = [0] * 4
    for i, size in steps:
        try:
            leases[i].resize(size)
        except StorageError:
            assert sum(sizes) - sizes[i] + size > limit
        else:
            sizes[i] = size
        assert sum(sizes) <= limit
