"""How a session moves: by time, by what is seen, by what its owner asks."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.phases import (
    COMPONENT_MOVES,
    SESSION_MOVES,
    TERMINAL_COMPONENT_PHASES,
    ComponentPhase,
    MessageLevel,
    SessionPhase,
    is_terminal,
)
from node_stub.lifecycle import accepted, cancelled, decide, given_up, resumed, unarchived
from node_stub.platforms.base import EndReason, JobPhase, Observation, Unarchived
from node_stub.standing import (
    Component,
    ComponentPhases,
    Decision,
    Intent,
    Limits,
    Schedule,
    Standing,
)

NOW: Final = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)
SCHEDULE: Final = Schedule(
    prepare_at=NOW + timedelta(seconds=10),
    start_at=NOW + timedelta(seconds=20),
    end_at=NOW + timedelta(seconds=120),
)
LIMITS: Final = Limits(stop=timedelta(seconds=30), release=timedelta(seconds=60))


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def seen(
    phase: JobPhase,
    seconds: float,
    reason: EndReason | None = None,
    exit_code: int | None = None,
    look_again: datetime | None = None,
) -> Observation:
    return Observation(phase, at(seconds), reason, exit_code, look_again=look_again)


def after(
    standing: Standing, *looks: tuple[float, JobPhase | Observation | None]
) -> list[Decision]:
    """What is decided at each look."""
    decisions = []
    for seconds, look in looks:
        observation = seen(look, seconds) if isinstance(look, JobPhase) else look
        decision = decide(standing, SCHEDULE, observation, at(seconds), LIMITS)
        standing = decision.standing
        decisions.append(decision)
    return decisions


def run_until(*looks: tuple[float, JobPhase | Observation | None]) -> Decision:
    return after(accepted(NOW), *looks)[-1]


RUNNING: Final[Sequence[tuple[float, JobPhase | Observation | None]]] = (
    (10, None),
    (20, JobPhase.READY),
    (21, JobPhase.RUNNING),
)
ENDED_WELL: Final = seen(JobPhase.ENDED, 50, EndReason.OK, 0)


def test_a_session_waits_until_its_preparation_must_begin() -> None:
    decision = run_until((0, None))

    assert decision.standing.phase is SessionPhase.WAITING
    assert decision.action is None
    assert decision.wake == SCHEDULE.prepare_at
    assert set(decision.standing.components.values()) == {ComponentPhase.WAITING}


def test_preparation_is_asked_for_when_its_time_has_come() -> None:
    decision = run_until((0, None), (10, None))

    assert decision.standing.phase is SessionPhase.PREPARING
    assert decision.action is decision.standing.intent is Intent.PREPARE


def test_a_session_that_is_ready_early_is_available_until_its_start() -> None:
    decision = run_until((10, None), (15, JobPhase.READY))

    assert decision.standing.phase is SessionPhase.AVAILABLE
    assert decision.action is None
    assert decision.wake == SCHEDULE.start_at


def test_a_ready_session_is_launched_at_its_start() -> None:
    decision = run_until((10, None), (15, JobPhase.READY), (20, JobPhase.READY))

    assert decision.standing.phase is SessionPhase.AVAILABLE
    assert decision.action is decision.standing.intent is Intent.LAUNCH


def test_a_session_runs_when_its_platform_runs_it() -> None:
    decision = run_until(*RUNNING)

    assert decision.standing.phase is SessionPhase.RUNNING
    assert decision.standing.components == {
        Component.EXECUTABLE: ComponentPhase.AVAILABLE,
        Component.COMPUTE: ComponentPhase.RUNNING,
        Component.STORAGE: ComponentPhase.AVAILABLE,
        Component.DATA: ComponentPhase.AVAILABLE,
    }
    assert decision.wake == SCHEDULE.end_at


def test_a_run_that_ends_well_is_released_and_completed() -> None:
    releasing, done = after(accepted(NOW), *RUNNING, (50, ENDED_WELL), (51, JobPhase.GONE))[-2:]

    assert releasing.standing.phase is SessionPhase.RELEASING
    assert releasing.action is Intent.RELEASE
    assert [note.values["exit_code"] for note in releasing.notes] == ["0"]
    assert done.standing.phase is SessionPhase.COMPLETED
    assert done.standing.intent is Intent.DONE
    assert set(done.standing.components.values()) == {ComponentPhase.COMPLETED}


def test_a_quick_job_may_skip_phases() -> None:
    decision = run_until((10, None), (20, ENDED_WELL))

    assert decision.standing.phase is SessionPhase.RELEASING
    assert decision.standing.target is SessionPhase.COMPLETED


def test_a_run_that_ends_badly_fails_with_its_exit_code() -> None:
    ended = seen(JobPhase.ENDED, 50, EndReason.NONZERO, 3)
    releasing, done = after(accepted(NOW), *RUNNING, (50, ended), (51, JobPhase.GONE))[-2:]

    (note,) = releasing.notes
    assert note.component is Component.COMPUTE
    assert note.reason.level is MessageLevel.ERROR
    assert note.values == {"reason": "NONZERO", "exit_code": "3", "detail": ""}
    assert releasing.standing.components[Component.COMPUTE] is ComponentPhase.FAILED
    assert done.standing.phase is SessionPhase.FAILED


def test_an_image_that_cannot_be_had_fails_the_executable() -> None:
    decision = run_until((10, None), (12, seen(JobPhase.ENDED, 12, EndReason.IMAGE)))

    assert decision.standing.components[Component.EXECUTABLE] is ComponentPhase.FAILED
    assert decision.standing.target is SessionPhase.FAILED


@pytest.mark.parametrize(
    ("reason", "part", "kind"),
    [
        (EndReason.DATA, Component.DATA, "urn:data-failed"),
        (EndReason.STORAGE, Component.STORAGE, "urn:storage-exceeded"),
    ],
)
def test_what_could_not_be_staged_fails_its_own_component(
    reason: EndReason, part: Component, kind: str
) -> None:
    decision = run_until((10, None), (12, seen(JobPhase.ENDED, 12, reason)))

    assert [note.reason.kind for note in decision.notes] == [kind]
    assert decision.notes[0].component is part
    assert decision.standing.components[part] is ComponentPhase.FAILED
    assert decision.standing.target is SessionPhase.FAILED
    assert decision.action is Intent.RELEASE


def test_components_stand_where_they_are_seen_while_the_rest_gets_ready() -> None:
    half = replace(
        seen(JobPhase.STARTING, 12), components={Component.DATA: ComponentPhase.AVAILABLE}
    )
    components = run_until((10, None), (12, half)).standing.components

    assert components[Component.DATA] is ComponentPhase.AVAILABLE
    assert components[Component.EXECUTABLE] is ComponentPhase.PREPARING
    assert components[Component.COMPUTE] is ComponentPhase.PREPARING


def test_results_that_could_not_be_sent_fail_a_session_that_ran_well() -> None:
    ended = seen(JobPhase.ENDED, 40, EndReason.OK, 0)
    unsent = replace(seen(JobPhase.GONE, 41, EndReason.RESULTS), text="no space there")
    *_, done = after(accepted(NOW), *RUNNING, (40, ended), (41, unsent))

    assert done.standing.phase is SessionPhase.FAILED
    assert done.standing.intent is Intent.DONE
    assert [note.reason.kind for note in done.notes] == ["urn:results-failed"]
    assert done.notes[0].values["detail"] == "no space there"


@pytest.mark.parametrize("phase", [JobPhase.LOST, JobPhase.GONE])
def test_a_running_job_that_vanishes_fails_its_session(phase: JobPhase) -> None:
    decision = run_until(*RUNNING, (30, phase))

    assert decision.standing.target is SessionPhase.FAILED
    assert [note.reason.kind for note in decision.notes] == ["urn:execution-lost"]


def test_a_preparation_that_was_never_begun_is_begun_again() -> None:
    decision = run_until((10, None), (11, JobPhase.GONE))

    assert decision.standing.phase is SessionPhase.PREPARING
    assert decision.action is Intent.PREPARE


def test_a_platform_that_cannot_be_seen_changes_nothing() -> None:
    before, unseen = after(accepted(NOW), *RUNNING, (200, None))[-2:]

    assert unseen.standing == before.standing
    assert unseen.action is None


def test_a_run_over_its_booked_time_is_stopped_and_fails() -> None:
    stopping, *_, done = after(
        accepted(NOW),
        *RUNNING,
        (120, JobPhase.RUNNING),
        (121, seen(JobPhase.ENDED, 121, EndReason.CANCELLED, 143)),
        (122, JobPhase.GONE),
    )[3:]

    assert stopping.action is Intent.STOP
    assert stopping.standing.phase is SessionPhase.RELEASING
    assert [note.reason.kind for note in stopping.notes] == ["urn:over-time"]
    assert done.standing.phase is SessionPhase.FAILED
    assert done.standing.components[Component.COMPUTE] is ComponentPhase.FAILED


def test_a_run_that_ended_just_before_its_time_was_over_is_completed() -> None:
    decision = run_until(*RUNNING, (130, ENDED_WELL))

    assert decision.standing.target is SessionPhase.COMPLETED


def test_a_preparation_that_outlasts_the_booking_fails() -> None:
    decision = run_until((10, None), (120, JobPhase.STARTING))

    assert decision.action is Intent.RELEASE
    assert [note.reason.kind for note in decision.notes] == ["urn:preparation-too-late"]


def test_a_booking_that_passed_while_nobody_looked_fails() -> None:
    decision = run_until((500, None))

    assert decision.standing.phase is SessionPhase.FAILED
    assert decision.standing.intent is Intent.DONE
    assert [note.reason.kind for note in decision.notes] == ["urn:schedule-missed"]


def test_a_job_that_does_not_stop_in_time_is_released_all_the_same() -> None:
    decision = run_until(*RUNNING, (120, JobPhase.RUNNING), (151, JobPhase.RUNNING))

    assert decision.action is Intent.RELEASE


def test_a_release_that_takes_too_long_fails_although_the_run_was_good() -> None:
    decision = run_until(*RUNNING, (50, ENDED_WELL), (111, JobPhase.STOPPING))

    assert decision.standing.phase is SessionPhase.FAILED
    assert [note.reason.kind for note in decision.notes] == ["urn:release-failed"]


def test_the_time_to_release_begins_anew_after_a_restart() -> None:
    releasing = run_until(*RUNNING, (50, ENDED_WELL)).standing
    decision = decide(
        resumed(releasing, at(1000)), SCHEDULE, seen(JobPhase.ENDED, 1000), at(1000), LIMITS
    )

    assert decision.action is Intent.RELEASE
    assert decision.standing.phase is SessionPhase.RELEASING


@pytest.mark.parametrize(
    "looks",
    [(), ((0, None),)],
    ids=["accepted", "waiting"],
)
def test_a_cancelled_session_that_was_not_begun_is_done_at_once(
    looks: Sequence[tuple[float, None]],
) -> None:
    standing = after(accepted(NOW), *looks)[-1].standing if looks else accepted(NOW)

    ended = cancelled(standing, at(1))

    assert ended.phase is SessionPhase.CANCELLED
    assert ended.intent is Intent.DONE
    assert set(ended.components.values()) == {ComponentPhase.CANCELLED}


def test_a_cancelled_session_winds_its_work_down() -> None:
    running = run_until(*RUNNING).standing
    ended = cancelled(running, at(30))
    assert ended.phase is SessionPhase.CANCELLED
    assert set(ended.components.values()) == {ComponentPhase.RELEASING}

    stop, release, done = after(
        ended,
        (30, JobPhase.RUNNING),
        (31, seen(JobPhase.ENDED, 31, EndReason.CANCELLED, 143)),
        (32, JobPhase.GONE),
    )

    assert (stop.action, release.action) == (Intent.STOP, Intent.RELEASE)
    assert done.standing.phase is SessionPhase.CANCELLED
    assert set(done.standing.components.values()) == {ComponentPhase.CANCELLED}


def test_giving_up_a_preparation_releases_what_was_made() -> None:
    preparing = run_until((10, None)).standing

    decision = given_up(preparing, EndReason.NODE, "the daemon is away", at(15))

    assert decision.action is Intent.RELEASE
    assert decision.standing.target is SessionPhase.FAILED
    assert decision.notes[0].values["detail"] == "the daemon is away"
    assert decision.standing.components[Component.EXECUTABLE] is ComponentPhase.FAILED


def test_a_failed_release_leaves_a_cancelled_session_cancelled() -> None:
    cancelling = cancelled(run_until(*RUNNING).standing, at(30))
    releasing = decide(cancelling, SCHEDULE, seen(JobPhase.READY, 31), at(31), LIMITS).standing

    decision = given_up(releasing, EndReason.NODE, "no", at(40))

    assert decision.standing.phase is SessionPhase.CANCELLED
    assert decision.standing.components[Component.COMPUTE] is ComponentPhase.FAILED


LEFT: Final = Unarchived(EndReason.OK, 0, "no space left", "workspaces/1")
UNTIL: Final = at(1000)


def waited(look: JobPhase | None, seconds: float, *, is_told: bool = True) -> Decision:
    """What is decided of a job that ended well long ago and whose results have no room."""
    releasing = run_until(*RUNNING, (50, ENDED_WELL)).standing
    observation = None if look is None else seen(look, seconds)
    return unarchived(releasing, LEFT, UNTIL, observation, at(seconds), is_told=is_told)


def test_results_without_room_are_tried_again_long_after_releasing_had_to_end() -> None:
    told, again, under_way = (
        waited(JobPhase.ENDED, 900, is_told=False),
        waited(JobPhase.ENDED, 900),
        waited(JobPhase.STOPPING, 900),
    )

    assert {one.standing.phase for one in (told, again, under_way)} == {SessionPhase.RELEASING}
    assert (told.action, again.action, under_way.action) == (Intent.RELEASE, Intent.RELEASE, None)
    assert under_way.wake == UNTIL
    assert [note.reason.kind for note in told.notes] == ["urn:results-waiting"]
    assert told.notes[0].values == {"detail": "no space left", "until": "2026-08-03T09:16:40Z"}
    assert again.notes == ()


def test_results_that_found_room_at_last_complete_their_session() -> None:
    assert waited(JobPhase.GONE, 1001).standing.phase is SessionPhase.COMPLETED


def test_results_without_room_to_the_last_fail_their_session_and_say_that_its_work_did_not() -> (
    None
):
    decision = waited(JobPhase.ENDED, 1000)

    assert decision.standing.phase is SessionPhase.FAILED
    assert decision.standing.intent is Intent.DONE
    assert decision.standing.components[Component.COMPUTE] is ComponentPhase.COMPLETED
    assert decision.standing.components[Component.STORAGE] is ComponentPhase.FAILED
    (note,) = decision.notes
    assert note.reason.kind == "urn:results-unarchived"
    assert note.values["reason"] == "OK"
    assert note.values["exit_code"] == "0"
    assert note.values["place"] == LEFT.place


def test_results_without_room_on_a_platform_that_cannot_be_seen_change_nothing() -> None:
    decision = waited(None, 1001)

    assert decision.standing.phase is SessionPhase.RELEASING
    assert decision.action is None


looks = st.lists(
    st.tuples(
        st.floats(0, 100),
        st.none() | st.sampled_from(JobPhase),
        st.none() | st.sampled_from(EndReason),
        st.dictionaries(st.sampled_from(Component), st.sampled_from(ComponentPhase)),
        st.sampled_from(["look", "cancel", "give up", "resume", "no room"]),
    ),
    max_size=15,
)


def _step(
    standing: Standing,
    now: datetime,
    phase: JobPhase | None,
    reason: EndReason | None,
    components: ComponentPhases,
    event: str,
) -> Standing:
    if event == "cancel" and not is_terminal(standing.phase):
        return cancelled(standing, now)
    if event == "resume":
        return resumed(standing, now)
    if event == "give up" and standing.intent not in (Intent.NOTHING, Intent.DONE):
        return given_up(standing, reason or EndReason.NODE, "x", now).standing
    observation = None
    if phase is not None:
        observation = Observation(phase, now, reason, components=components)
    if event == "no room" and standing.intent is Intent.RELEASE:
        return unarchived(standing, LEFT, at(300), observation, now, is_told=False).standing
    return decide(standing, SCHEDULE, observation, now, LIMITS).standing


@given(looks)
def test_whatever_is_seen_every_move_is_legal(
    given_looks: list[tuple[float, JobPhase | None, EndReason | None, ComponentPhases, str]],
) -> None:
    standing, now = accepted(NOW), NOW
    for wait, phase, reason, components, event in given_looks:
        now += timedelta(seconds=wait)
        then = _step(standing, now, phase, reason, components, event)
        assert then.phase is standing.phase or then.phase in SESSION_MOVES[standing.phase]
        for part, before in standing.components.items():
            moved = then.components[part]
            assert moved is before or moved in COMPONENT_MOVES[before]
        standing = then


@given(looks)
def test_whatever_was_seen_a_platform_that_works_again_brings_every_session_to_its_end(
    given_looks: list[tuple[float, JobPhase | None, EndReason | None, ComponentPhases, str]],
) -> None:
    standing, now = accepted(NOW), NOW
    for wait, phase, reason, components, event in given_looks:
        now += timedelta(seconds=wait)
        standing = _step(standing, now, phase, reason, components, event)
    now = max(now, SCHEDULE.end_at)
    for _ in range(4):
        standing = _step(standing, now, JobPhase.ENDED, EndReason.OK, {}, "look")
        standing = _step(standing, now, JobPhase.GONE, None, {}, "look")

    assert standing.intent is Intent.DONE
    assert is_terminal(standing.phase)
    assert set(standing.components.values()) <= TERMINAL_COMPONENT_PHASES
