"""The track record: accepts and lateness both count, and both fade."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.track_record import HALF_LIFE, PRIOR_SHARE, WHOLE, TrackRecord
from tests.unit.domain.builders import NOW

FRESH = TrackRecord(0, 0, NOW)
events = st.lists(st.sampled_from(["kept", "broken", "timely", "late"]), max_size=40)


def after(*names: str) -> TrackRecord:
    """The record after these events, all now."""
    record = FRESH
    for name in names:
        record = getattr(record, f"with_{name}")(NOW)
    return record


@given(events)
def test_a_share_is_between_nothing_and_the_whole(names: list[str]) -> None:
    assert 0 < after(*names).share(NOW) < WHOLE


@given(events)
def test_bad_events_lower_and_good_ones_never_do(names: list[str]) -> None:
    share = after(*names).share(NOW)
    assert after(*names, "kept").share(NOW) >= share
    assert after(*names, "timely").share(NOW) >= share
    assert after(*names, "broken").share(NOW) < share
    assert after(*names, "late").share(NOW) < share


@given(events)
def test_the_order_of_events_at_one_time_plays_no_part(names: list[str]) -> None:
    assert after(*names) == after(*reversed(names))


def test_who_is_in_time_and_nothing_else_is_known_of_keeps_the_prior() -> None:
    assert FRESH.share(NOW) == PRIOR_SHARE
    assert after(*["timely"] * 50).share(NOW) == PRIOR_SHARE


def test_lateness_fades_like_all_else() -> None:
    late = after(*["late"] * 8)
    then = late.share(NOW + 3 * HALF_LIFE)
    assert late.share(NOW) < then < PRIOR_SHARE
    assert late.share(NOW + 60 * HALF_LIFE) == PRIOR_SHARE


def test_people_are_shown_the_counts_as_they_weigh_now() -> None:
    shown = after("kept", "broken", "late").to_document(NOW + HALF_LIFE)
    assert shown["kept"] == shown["broken"] == shown["late"] == 0.5
    assert shown["timely"] == 0
    assert shown["half_life_days"] == 7
    assert 0 < shown["share"] < 0.8
