"""When a node is lost: silence counts only while somebody listens, and ends with the first word."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.resubmission import (
    BEFORE_RUNNING,
    Silence,
    Stage,
    is_lost,
    is_replaceable,
    moved_to,
    outlook,
    silence_of,
)
from gateway.wire.phases import SessionPhase

T0: Final = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)
GAP: Final = timedelta(seconds=90)
GRACE: Final = timedelta(minutes=15)


def after(**time: float) -> datetime:
    return T0 + timedelta(**time)


def listened(
    looks_s: list[float], *, heard_s: float = -1.0, gap: timedelta = GAP
) -> Silence | None:
    """The silence after looks in vain at these seconds, the node last heard at ``heard_s``."""
    silence: Silence | None = None
    for look in looks_s:
        silence = silence_of(
            silence, observed=after(seconds=heard_s), now=after(seconds=look), gap=gap
        )
    return silence


def test_silence_lasts_from_the_first_look_in_vain_to_the_last() -> None:
    assert listened([0, 30, 60]) == Silence(T0, after(seconds=60))


def test_silence_begins_anew_after_a_word() -> None:
    assert listened([0, 30, 60], heard_s=45) == Silence(after(seconds=60), after(seconds=60))


def test_silence_begins_anew_where_nobody_listened() -> None:
    assert listened([0, 30, 200]) == Silence(after(seconds=200), after(seconds=200))


def test_a_node_is_lost_after_the_grace_and_not_before() -> None:
    silence = Silence(T0, after(minutes=15))
    assert is_lost(silence, listening_since=after(hours=-1), grace=GRACE)
    assert not is_lost(
        Silence(T0, after(minutes=14, seconds=59)), listening_since=after(hours=-1), grace=GRACE
    )


def test_who_came_late_does_not_judge_by_what_others_heard() -> None:
    silence = Silence(T0, after(minutes=20))
    assert not is_lost(silence, listening_since=after(minutes=6), grace=GRACE)
    assert is_lost(silence, listening_since=after(minutes=5), grace=GRACE)


@given(st.lists(st.floats(0.1, 300), min_size=1, max_size=40))
def test_no_silence_has_a_gap_in_which_nobody_listened(pauses: list[float]) -> None:
    looks, at = [], 0.0
    for pause in pauses:
        at += pause
        looks.append(at)
    silence = listened(looks)
    assert silence is not None
    counted = [look for look in looks if after(seconds=look) >= silence.since]
    assert after(seconds=counted[-1]) == silence.until
    assert all(then - before <= GAP.total_seconds() for before, then in pairwise(counted))


@pytest.mark.parametrize("phase", sorted(SessionPhase))
def test_what_has_been_heard_again_or_ended_is_not_replaced(phase: SessionPhase) -> None:
    silent = is_replaceable(phase, observed=after(seconds=-1), lost_since=T0)
    heard = is_replaceable(phase, observed=after(seconds=1), lost_since=T0)
    can_run_no_more = phase in {SessionPhase.FAILED, SessionPhase.EXPIRED}
    assert silent == (phase in BEFORE_RUNNING or can_run_no_more)
    assert heard == can_run_no_more


@pytest.mark.parametrize("stage", [None, *(stage for stage in Stage if stage is not Stage.MOVED)])
def test_every_outlook_is_a_whole_sentence(stage: Stage | None) -> None:
    said = outlook(stage, node="alpha", since=T0, grace_s=900.0, last_error=None, now=T0)
    assert said is not None
    assert "${" not in said["message"]
    assert "alpha" in said["message"]
    assert (said["kind"] == "urn:not-resubmitted") == (stage is None)


def test_of_what_has_moved_its_link_alone_says_what_becomes_of_it() -> None:
    said = outlook(
        Stage.MOVED, node="alpha", since=T0, grace_s=900.0, last_error=None, now=after(seconds=1)
    )
    assert said is None


def test_a_link_has_the_url_under_which_its_reader_came() -> None:
    uuid = uuid4()
    said = moved_to(uuid, "alpha", T0).to_message("https://gateway.example.org")
    assert f"https://gateway.example.org/sessions/{uuid}" in said["message"]
