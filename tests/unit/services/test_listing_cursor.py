"""Cursors: what is given out is read again, and nothing else."""

import base64
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.services.listing_cursor import MAX_CURSOR, CursorError, cursor_of, place_of
from gateway.stores.listing import Place

FILTERS: list[object] = ["sessions", None, [], "-created"]
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(TIMES, st.uuids())
def test_a_cursor_leads_back_to_its_place(at: datetime, uuid: UUID) -> None:
    place = Place(at, uuid)
    cursor = cursor_of(place, FILTERS)
    assert place_of(cursor, FILTERS) == place
    assert len(cursor) < MAX_CURSOR / 1.5


@given(st.text(max_size=40))
def test_what_was_not_given_out_is_refused(text: str) -> None:
    with pytest.raises(CursorError):
        place_of(text, FILTERS)


@pytest.mark.parametrize(
    "inside", [b"[]", b'[1,"x","y"]', b"{}", b'[9999999999999999999,"%s","x"]' % bytes(36)]
)
def test_base64_of_something_else_is_refused(inside: bytes) -> None:
    with pytest.raises(CursorError):
        place_of(base64.urlsafe_b64encode(inside).decode().rstrip("="), FILTERS)


def test_an_instant_that_no_calendar_has_is_refused() -> None:
    text = f'[{2**62},"{uuid4()}","x"]'.encode()
    with pytest.raises(CursorError):
        place_of(base64.urlsafe_b64encode(text).decode().rstrip("="), FILTERS)


def test_a_cursor_of_another_list_or_of_other_filters_is_refused() -> None:
    cursor = cursor_of(Place(datetime(2026, 1, 1, tzinfo=UTC), uuid4()), FILTERS)
    for others in (["offersets", *FILTERS[1:]], [*FILTERS[:-1], "created"]):
        with pytest.raises(CursorError, match="another list"):
            place_of(cursor, others)
    with pytest.raises(CursorError, match="too long"):
        place_of(cursor * 3, FILTERS)
