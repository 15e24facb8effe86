"""Server-sent events, however they are cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli import events
from gateway.cli.events import Event, EventReader

TEXT = (
    b": open\n\nid: 5\nevent: chunk\ndata: one\n\n"
    b"data: a\r\ndata:b\r\n\r\n: still here\n\n"
    b"id:7\nevent: end\nretry: 3\ndata: {}\n\nevent: lost\n\n"
)
EVENTS = [Event("chunk", "5", "one"), Event("message", "5", "a\nb"), Event("end", "7", "{}")]


@given(cuts=st.lists(st.integers(0, len(TEXT)), max_size=20).map(sorted))
def test_events_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    reader, found = EventReader(), []
    for start, stop in zip([0, *cuts], [*cuts, len(TEXT)], strict=True):
        found += reader.feed(TEXT[start:stop])
    assert found == EVENTS


def test_a_line_without_end_is_no_stream_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_EVENT_BYTES", 100)
    with pytest.raises(ValueError, match="without end"):
        EventReader().feed(b"x" * 101)
