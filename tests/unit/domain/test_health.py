"""The health of one node and of all together: who is ejected, for how long, and who never is."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.coverage import Outcome
from gateway.domain.fleet_health import Change, FleetHealth, Withheld
from gateway.domain.health import (
    TRUSTED_AFTER,
    Cause,
    Finding,
    HealthState,
    NodeHealth,
    fair_wait_of,
    finding_of,
)
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.settings import HealthSettings

SETTINGS = HealthSettings(grace_s=0)
BAD = (Finding.FAILED, Finding.LATE, Finding.UNREACHABLE)
findings = st.sampled_from(Finding)
steps = st.floats(0, 100, allow_nan=False)


def fleet_of(count: int, settings: HealthSettings = SETTINGS) -> FleetHealth:
    fleet = FleetHealth(settings, lambda: 0.5)
    for number in range(count):
        fleet.add(name(number), is_enabled=True)
    return fleet


def name(number: int) -> str:
    return f"node-{number:02}"


def states(fleet: FleetHealth, count: int) -> list[HealthState]:
    return [fleet._nodes[name(number)].state for number in range(count)]


def ask_all(fleet: FleetHealth, found: Sequence[Finding], now: float) -> list[Change]:
    """One request to every node."""
    changes = [fleet.asked(name(number), one, now) for number, one in enumerate(found)]
    return [change for change in changes if change is not None]


# -- what a call says ---------------------------------------------------------------------------


def test_what_is_about_the_request_says_nothing_of_the_node() -> None:
    def of(outcome: Outcome, why: Reason | None, waited_s: float | None = 5.0) -> Finding | None:
        return finding_of(outcome, why, waited_s, 2.0)

    def status(code: int) -> Reason:
        return reason(ReasonCode.ERROR_STATUS, status=code)

    assert of(Outcome.ANSWERED, None) is Finding.WELL
    assert of(Outcome.NO, reason(ReasonCode.NODE_SAID_NO, detail="")) is Finding.WELL
    assert of(Outcome.ERROR, status(400)) is None
    assert of(Outcome.ERROR, status(500)) is Finding.FAILED
    assert of(Outcome.ERROR, reason(ReasonCode.REFUSED_CREDENTIALS)) is None
    assert of(Outcome.ERROR, reason(ReasonCode.CONNECTION_LOST)) is Finding.FAILED
    assert of(Outcome.INVALID, reason(ReasonCode.INVALID_ANSWER, detail="")) is Finding.FAILED
    assert of(Outcome.REFUSED, reason(ReasonCode.CONNECTION_REFUSED)) is Finding.UNREACHABLE
    assert of(Outcome.TIMEOUT, reason(ReasonCode.NODE_BUSY)) is None
    assert of(Outcome.TIMEOUT, reason(ReasonCode.HEADERS_TIMEOUT)) is Finding.LATE
    assert of(Outcome.TIMEOUT, reason(ReasonCode.HEADERS_TIMEOUT), 1.9) is None
    assert of(Outcome.TIMEOUT, reason(ReasonCode.HEADERS_TIMEOUT), None) is None
    assert of(Outcome.TIMEOUT, reason(ReasonCode.CONNECT_TIMEOUT), 1.0) is Finding.UNREACHABLE
    assert of(Outcome.TIMEOUT, reason(ReasonCode.CONNECT_TIMEOUT), 0.1) is None
    assert of(Outcome.LATE, reason(ReasonCode.NOT_WAITED_FOR)) is None


def test_a_node_that_is_usually_quick_need_not_be_waited_for_as_long() -> None:
    assert fair_wait_of(None, SETTINGS) == 2.0
    assert fair_wait_of(0.001, SETTINGS) == 0.25
    assert fair_wait_of(0.05, SETTINGS) == 1.0
    assert fair_wait_of(3.0, SETTINGS) == 2.0


# -- one node -----------------------------------------------------------------------------------


@given(st.lists(st.tuples(steps, findings | st.just("heard") | st.just("missed")), max_size=60))
def test_an_ejection_is_due_only_after_failures_in_a_row_that_last(
    happened: list[tuple[float, Finding | str]],
) -> None:
    node = NodeHealth(SETTINGS)
    now, run = 0.0, list[float]()
    for step, event in happened:
        now += step
        if event == "heard":
            node.heard(now)
            continue
        cause = node.asked(event, now) if isinstance(event, Finding) else node.missed(now)
        run = [] if event is Finding.WELL else [*run, now]
        if cause is not None:
            assert len(run) >= SETTINGS.failures
            assert run[-1] - run[0] >= SETTINGS.failing_for_s


@given(st.integers(1, 40), st.floats(0, 1))
def test_ejections_get_longer_up_to_the_longest(count: int, draw: float) -> None:
    node = NodeHealth(SETTINGS)
    lasted = []
    for _ in range(count):
        node.eject(Cause.FAILING, 0.0, draw)
        assert node.until is not None
        lasted.append(node.until)
        node.put_on_trial(0.0)
    assert lasted == sorted(lasted)
    assert lasted[-1] <= SETTINGS.longest_ejection_s
    assert lasted[0] >= 0.9 * SETTINGS.ejection_s


def test_a_node_that_stays_well_is_forgiven_step_by_step() -> None:
    node = NodeHealth(SETTINGS)
    for _ in range(3):
        node.eject(Cause.FAILING, 0.0, 0.0)
        node.put_on_trial(0.0)
    for _ in range(TRUSTED_AFTER):
        node.asked(Finding.WELL, 0.0)
    assert node.state is HealthState.UP
    assert [node.ejections(at) for at in (0, 29, 31, 61, 1000)] == [3, 3, 2, 1, 0]


def test_a_returned_node_that_fails_at_once_is_ejected_for_longer() -> None:
    node = NodeHealth(SETTINGS)
    node.eject(Cause.LATE, 0.0, 0.0)
    assert node.until == 30
    node.put_on_trial(30.0)
    assert (node.state, node.cause) == (HealthState.DEGRADED, Cause.RETURNED)
    assert node.asked(Finding.FAILED, 31.0) is Cause.FAILING
    node.eject(Cause.FAILING, 31.0, 0.0)
    assert node.until == 91


def test_a_returned_node_is_trusted_after_some_answers_and_not_by_being_heard() -> None:
    node = NodeHealth(SETTINGS)
    node.eject(Cause.LATE, 0.0, 0.0)
    node.put_on_trial(30.0)
    node.heard(40.0)
    for _ in range(TRUSTED_AFTER - 1):
        node.asked(Finding.WELL, 41.0)
    assert node.state is HealthState.DEGRADED
    node.asked(Finding.WELL, 42.0)
    assert (node.state, node.cause, node.since) == (HealthState.UP, Cause.ANSWERED, 42.0)


def test_a_returned_node_that_nobody_asks_is_not_on_trial_for_ever() -> None:
    node = NodeHealth(SETTINGS)
    node.eject(Cause.LATE, 0.0, 0.0)
    node.put_on_trial(30.0)
    node.heard(329.0)
    assert node.cause is Cause.RETURNED
    node.heard(331.0)
    assert node.state is HealthState.UP


def test_a_node_that_reads_sessions_and_hangs_over_requests_is_ejected_all_the_same() -> None:
    node = NodeHealth(SETTINGS)
    causes = []
    for number in range(SETTINGS.failures):
        causes.append(node.asked(Finding.LATE, number))
        node.heard(number + 0.5)
    assert causes[-1] is Cause.LATE


def test_a_node_that_can_be_reached_again_starts_anew() -> None:
    node = NodeHealth(SETTINGS)
    for number in range(SETTINGS.failures - 1):
        assert node.asked(Finding.UNREACHABLE, number) is None
    node.heard(10.0)
    assert node.missed(11.0) is None


def test_failures_of_more_than_one_kind_are_just_failures() -> None:
    node = NodeHealth(SETTINGS)
    causes = [node.asked(BAD[number % 3], number) for number in range(SETTINGS.failures)]
    assert causes[-1] is Cause.FAILING


def test_a_node_known_to_lose_a_call_in_five_needs_a_longer_run() -> None:
    node = NodeHealth(SETTINGS)
    for number in range(100):
        node.asked(Finding.FAILED if number % 5 == 0 else Finding.WELL, number / 10)
    assert [node.asked(Finding.FAILED, 10 + number) for number in range(8)] == [
        *[None] * 7,
        Cause.FAILING,
    ]


# -- all together -------------------------------------------------------------------------------


@given(
    st.integers(1, 12),
    st.floats(0, 1),
    st.lists(st.tuples(st.integers(0, 11), findings, steps, st.booleans()), max_size=150),
)
def test_never_are_fewer_nodes_left_than_the_floor(
    count: int, share: float, happened: list[tuple[int, Finding, float, bool]]
) -> None:
    settings = HealthSettings(
        grace_s=0, failures=2, failing_for_s=0, min_askable_share=share, ejection_s=50
    )
    fleet = fleet_of(count, settings)
    now = 0.0
    for number, finding, step, is_probe in happened:
        now += step
        which = name(number % count)
        if is_probe:
            fleet.probed(which, now, is_well=finding is Finding.WELL)
        else:
            fleet.asked(which, finding, now)
        fleet.sweep(now)
        left = sum(state is not HealthState.EJECTED for state in states(fleet, count))
        assert left == fleet.askable
        assert left >= max(1, share * count)


@given(
    st.integers(2, 10),
    st.lists(st.tuples(st.integers(0, 9), findings, steps), max_size=100),
)
def test_a_node_that_always_answers_is_never_ejected(
    count: int, happened: list[tuple[int, Finding, float]]
) -> None:
    fleet = fleet_of(count)
    now = 0.0
    for number, finding, step in happened:
        now += step
        which = number % count
        fleet.asked(name(which), finding if which else Finding.WELL, now)
        fleet.sweep(now)
        assert states(fleet, count)[0] in {HealthState.UP, HealthState.UNKNOWN}


@given(st.integers(2, 30), st.lists(st.sampled_from(BAD), min_size=5, max_size=30), steps)
def test_a_node_that_always_fails_is_ejected_after_the_fifth_failure(
    count: int, kinds: list[Finding], step: float
) -> None:
    fleet = fleet_of(count)
    for number, kind in enumerate(kinds):
        now = number * max(step, SETTINGS.failing_for_s)
        ask_all(fleet, [*[Finding.WELL] * (count - 1), kind], now)
    assert states(fleet, count) == [*[HealthState.UP] * (count - 1), HealthState.EJECTED]


def test_when_all_are_silent_nobody_is_ejected_and_it_is_said_why() -> None:
    fleet = fleet_of(6)
    ask_all(fleet, [Finding.WELL] * 6, 0.0)
    for number in range(20):
        ask_all(fleet, [Finding.UNREACHABLE] * 6, 1.0 + number)
    assert states(fleet, 6) == [HealthState.DEGRADED] * 6
    assert fleet.withheld is Withheld.ALL_SILENT
    ask_all(fleet, [Finding.WELL] * 6, 30.0)
    assert states(fleet, 6) == [HealthState.UP] * 6
    assert fleet.withheld is None


def test_the_floor_holds_whoever_fails_after_half_are_gone() -> None:
    fleet = fleet_of(5)
    for number in range(20):
        ask_all(fleet, [Finding.WELL, *[Finding.LATE] * 4], float(number))
    found = states(fleet, 5)
    assert found == [
        HealthState.UP,
        *[HealthState.EJECTED] * 2,
        *[HealthState.DEGRADED] * 2,
    ]
    assert (fleet.askable, fleet.floor, fleet.withheld) == (3, 3, Withheld.TOO_FEW_LEFT)


def test_nobody_is_judged_before_the_gateway_has_been_up_for_a_while() -> None:
    fleet = fleet_of(4, HealthSettings(grace_s=10))
    found = [Finding.WELL, Finding.WELL, Finding.WELL, Finding.FAILED]
    for number in range(10):
        ask_all(fleet, found, float(number))
    assert states(fleet, 4)[3] is HealthState.DEGRADED
    assert fleet.withheld is Withheld.GRACE
    changes = ask_all(fleet, found, 10.0)
    assert [(change.node, change.state) for change in changes] == [("node-03", HealthState.EJECTED)]


def test_a_burst_of_failures_in_one_moment_ejects_nobody() -> None:
    fleet = fleet_of(4)
    for _ in range(100):
        ask_all(fleet, [Finding.WELL, Finding.UNREACHABLE], 5.0)
    assert states(fleet, 4)[1] is HealthState.UNKNOWN
    ask_all(fleet, [Finding.WELL, Finding.UNREACHABLE], 6.0)
    assert states(fleet, 4)[1] is HealthState.EJECTED


def test_an_ejected_node_returns_by_a_probe_and_rests_again_without() -> None:
    fleet = fleet_of(3)
    for number in range(5):
        ask_all(fleet, [Finding.WELL, Finding.WELL, Finding.LATE], float(number))
    node = fleet._nodes[name(2)]
    assert node.until is not None
    assert fleet.probed(name(2), 40.0, is_well=False) is None
    assert (node.state, node.until) == (HealthState.EJECTED, 40 + 30 * 0.95)
    change = fleet.probed(name(2), 70.0, is_well=True)
    assert change == Change(
        name(2), HealthState.EJECTED, HealthState.DEGRADED, Cause.RETURNED, 70.0, None
    )
    assert fleet.askable == 3


def test_a_node_that_fails_much_more_often_than_the_others_stands_out() -> None:
    fleet = fleet_of(8)
    changes = []
    for number in range(60):
        bad = [Finding.FAILED if number % 3 else Finding.WELL] * 2
        ask_all(fleet, [*[Finding.WELL] * 6, *bad], number / 2)
    changes = fleet.sweep(30.0)
    assert [(change.node, change.cause) for change in changes] == [
        ("node-06", Cause.UNRELIABLE),
        ("node-07", Cause.UNRELIABLE),
    ]


def test_nobody_stands_out_where_all_fail_alike() -> None:
    fleet = fleet_of(8)
    for number in range(60):
        ask_all(fleet, [Finding.FAILED if number % 3 else Finding.WELL] * 8, number / 2)
    assert fleet.sweep(30.0) == []


@pytest.mark.parametrize("seed", range(5))
def test_nothing_flaps_at_twenty_percent_loss(seed: int) -> None:
    random = Random(seed)
    fleet = fleet_of(10)
    changes = []
    for number in range(300):
        found = [Finding.WELL if random.random() >= 0.2 else Finding.LATE for _ in range(10)]
        changes += ask_all(fleet, found, number / 5)
        if number % 50 == 0:
            changes += fleet.sweep(number / 5)
    assert {change.state for change in changes} == {HealthState.UP}
    assert len(changes) == 10


def test_a_disabled_node_does_not_count() -> None:
    fleet = FleetHealth(SETTINGS, lambda: 0.0)
    fleet.add("alpha", is_enabled=True)
    fleet.add("beta", is_enabled=False)
    assert (fleet.askable, fleet.floor) == (1, 1)
