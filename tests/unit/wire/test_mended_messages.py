"""A node's odd message becomes one that every client reads."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.messages import MAX_BRACKETS, MAX_TEXT, mended
from gateway.wire.schemas.components import MessageSchema

NOW = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)

GOOD = {
    "kind": "urn:no-capacity",
    "time": "2026-08-03T08:59:30Z",
    "level": "WARN",
    "template": "full until ${when}",
    "values": {"when": "noon"},
    "message": "full until noon",
    "x-ticket": {"number": 7},
}

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=8,
)


def test_a_good_message_stays_as_it_is_with_its_unknown_members() -> None:
    assert mended(GOOD, NOW) == GOOD


@given(
    said=st.dictionaries(st.sampled_from([*GOOD, "other"]), VALUES)
    | st.fixed_dictionaries({}, optional=dict.fromkeys(GOOD, VALUES))
)
def test_whatever_a_node_says_comes_out_valid(said: dict[str, Any]) -> None:
    item = mended(said, NOW)
    assert MessageSchema().validate(item) == {}
    assert {"kind", "time", "level"} <= item.keys()
    assert mended(item, NOW) == item


def test_a_level_of_another_system_is_translated() -> None:
    assert mended(GOOD | {"level": "WARNING"}, NOW)["level"] == "WARN"
    assert mended(GOOD | {"level": "error"}, NOW)["level"] == "ERROR"
    assert mended(GOOD | {"level": "LOUD"}, NOW)["level"] == "OTHER"


def test_values_become_text() -> None:
    said = GOOD | {"values": {"limit": 4, "of": [1, None], "why": None, "name": "x"}}
    assert mended(said, NOW)["values"] == {
        "limit": "4",
        "of": "[1,null]",
        "why": "null",
        "name": "x",
    }


def test_what_is_endless_is_cut_and_what_is_bottomless_left_out() -> None:
    deep: list[Any] = []
    for _ in range(MAX_BRACKETS):
        deep = [deep]
    item = mended(GOOD | {"message": "x" * 10 * MAX_TEXT, "notes": deep}, NOW)
    assert len(item["message"]) == MAX_TEXT
    assert "notes" not in item
