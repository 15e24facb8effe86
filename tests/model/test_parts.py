"""The parts of the model themselves: what they promise the explorer."""

import asyncio
import re
from collections.abc import Callable

import pytest

from gateway.errors import StoreUnavailableError
from gateway.wire.documents import from_json
from gateway.wire.phases import SessionPhase
from tests.model.__main__ import main, named
from tests.model.explore import Explorer
from tests.model.loop import Owner, SimLoop, StuckLoopError
from tests.model.nodes import OFFERED_FOR_S, START_S, SimNode
from tests.model.report import TokenError, from_token, token_of
from tests.model.scenarios import SCENARIOS
from tests.model.store import GatewayDatabase, HeldAcrossWaitError, SharedStore, Turn
from tests.model.trace import Trace


@pytest.fixture
def loop() -> SimLoop:
    return SimLoop(START_S)  # type: ignore[abstract]  # what nobody here asks of a loop


# -- traces ---------------------------------------------------------------------------------------


def key_of(*events: tuple[str, str]) -> int:
    trace = Trace()
    for label, what in events:
        trace.begin(label)
        trace.changes(what)
        trace.end()
    return trace.key


def test_events_that_touch_nothing_in_common_may_change_places() -> None:
    assert key_of(("a", "n1"), ("b", "n2")) == key_of(("b", "n2"), ("a", "n1"))


def test_events_at_the_same_place_may_not_change_places() -> None:
    assert key_of(("a", "n1"), ("b", "n1")) != key_of(("b", "n1"), ("a", "n1"))


def test_two_looks_may_change_places_but_not_with_a_change() -> None:
    def key(*labels: str) -> int:
        trace = Trace()
        for label in labels:
            trace.begin(label)
            note: Callable[[str], None] = trace.changes if label == "w" else trace.looks_at
            note("store")
            trace.end()
        return trace.key

    assert key("r", "s", "w") == key("s", "r", "w")
    assert key("r", "w") != key("w", "r")


def test_nothing_changes_places_with_the_time() -> None:
    def key(*labels: str) -> int:
        trace = Trace()
        for label in labels:
            trace.begin(label)
            trace.changes(label)
            trace.end(is_barrier=label == "time")
        return trace.key

    assert key("a", "time") != key("time", "a")


# -- the loop -------------------------------------------------------------------------------------


def test_what_is_killed_writes_nothing_more(loop: SimLoop) -> None:
    written: list[str] = []
    owner = Owner("g0")

    async def work() -> None:
        written.append("began")
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(5))
            await asyncio.sleep(5)
            written.append("went on")

    asyncio._set_running_loop(loop)
    try:
        loop.start(work(), name="work", owner=owner)
        loop.run()
        loop.kill(owner)
        loop.advance(START_S + 60)
    finally:
        asyncio._set_running_loop(None)
    assert written == ["began"]
    assert loop.failures == []
    assert loop.next_timer() is None


def test_time_stands_still_until_it_is_told_to_pass(loop: SimLoop) -> None:
    woken: list[float] = []
    loop.call_later(5.0, lambda: woken.append(loop.time()))
    loop.run()
    assert woken == []
    loop.advance(START_S + 60)
    assert woken == [START_S + 5.0]
    assert loop.time() == START_S + 60


def test_a_loop_that_never_waits_is_found_out(loop: SimLoop) -> None:
    def again() -> None:
        loop.call_soon(again)

    loop.call_soon(again)
    with pytest.raises(StuckLoopError):
        loop.run()


def test_what_a_clean_up_of_the_killed_begins_is_not_run(loop: SimLoop) -> None:
    written: list[str] = []

    async def write() -> None:
        written.append("after its death")

    async def work() -> None:
        try:
            await asyncio.sleep(5)
        finally:
            loop.create_task(write())

    owner = Owner("g0")
    asyncio._set_running_loop(loop)
    try:
        loop.start(work(), name="work", owner=owner)
        loop.run()
        loop.kill(owner)
        loop.run()
    finally:
        asyncio._set_running_loop(None)
    assert written == []
    assert owner.tasks == []


# -- nodes ----------------------------------------------------------------------------------------


def test_under_one_key_a_node_holds_one_thing() -> None:
    node = SimNode("n1")
    first, again, other = (
        node.answer("POST", "/requests?limit=2", b"{}", START_S, key) for key in ("k", "k", "l")
    )
    assert first == again
    assert first.body != other.body
    assert len(node.sessions) == 2


def test_what_a_node_no_longer_holds_it_does_not_offer_again() -> None:
    node = SimNode("n1")
    node.answer("POST", "/requests", b"{}", START_S, "k")
    late = node.answer("POST", "/requests", b"{}", START_S + OFFERED_FOR_S, "k")
    assert from_json(late.body)["offers"] == []


# -- the store ------------------------------------------------------------------------------------


def database_of(store: SharedStore, turn: Turn) -> GatewayDatabase:
    async def take_turn(_what: str) -> Turn:
        return turn

    return GatewayDatabase(store, Owner("g0"), take_turn, lambda _has_changed: None)


async def write_version(database: GatewayDatabase) -> None:
    async with database.transaction() as tx:
        await tx.execute("UPDATE schema_version SET version = 99")


def is_written(store: SharedStore) -> bool:
    return bool(store.rows("SELECT 1 FROM schema_version WHERE version = 99"))


def test_a_turn_that_fails_writes_nothing(store: SharedStore) -> None:
    with pytest.raises(StoreUnavailableError):
        asyncio.run(write_version(database_of(store, Turn.FAILS)))
    assert not is_written(store)


def test_a_turn_that_seems_to_fail_has_written(store: SharedStore) -> None:
    with pytest.raises(StoreUnavailableError):
        asyncio.run(write_version(database_of(store, Turn.SEEMS_TO_FAIL)))
    assert is_written(store)


def test_what_a_schedule_writes_is_gone_after_it(store: SharedStore) -> None:
    with store.undone():
        asyncio.run(write_version(database_of(store, Turn.RUNS)))
        assert is_written(store)
    assert not is_written(store)


def test_a_second_transaction_inside_one_is_found_out(store: SharedStore) -> None:
    database = database_of(store, Turn.RUNS)

    async def nested() -> None:
        async with database.transaction():
            await write_version(database)

    with pytest.raises(HeldAcrossWaitError):
        asyncio.run(nested())


# -- schedules ------------------------------------------------------------------------------------


def test_without_faults_the_one_who_asks_gets_it(store: SharedStore) -> None:
    for scenario in SCENARIOS:
        outcome = Explorer(store, scenario).replay(())
        assert outcome.broken is None, scenario.name
    told = Explorer(store, SCENARIOS[0]).replay(()).told
    assert told[-1].endswith(f"is {SessionPhase.ACCEPTED.value}")


def test_without_faults_the_work_of_a_lost_node_moves_and_ends_there(store: SharedStore) -> None:
    outcome = Explorer(store, named("its node is lost")).replay(())
    assert outcome.broken is None
    told = [event for event in outcome.events if event.startswith(("ACCEPTED", "CANCELLED"))]
    assert [one.split(" (")[0] for one in told] == [
        "ACCEPTED d1 to n2",
        *["CANCELLED aa to n1"] * 2,
    ]


def test_a_gateway_that_dies_over_a_request_under_a_key_is_waited_for(store: SharedStore) -> None:
    outcome = Explorer(store, named("one key, asked twice")).replay(((2, 5),))
    assert outcome.broken is None
    assert outcome.events[2] == "g0 is killed"
    assert outcome.told[-1] == "bob is answered 1002 for one", "begun by the one that died"


def test_the_same_choices_make_the_same_schedule(store: SharedStore) -> None:
    choices = ((2, 1), (5, 1))
    first, second = (Explorer(store, SCENARIOS[0]).replay(choices) for _ in range(2))
    assert first == second
    assert first != Explorer(store, SCENARIOS[0]).replay(())


def test_a_token_names_its_schedule() -> None:
    assert from_token(token_of("one accept", ((2, 1), (14, 3)))) == (
        "one accept",
        ((2, 1), (14, 3)),
    )
    for wrong in ("one accept", "one accept@x", "one accept@1"):
        with pytest.raises(TokenError):
            from_token(wrong)


def test_the_command_counts_what_it_has_explored(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(
        ["--schedules", "20", "--scenario", "two siblings", "--walks", "1", "--jobs", "1"]
    )
    assert status == 0
    assert re.search(r"^2[01] distinct schedules", capsys.readouterr().out, re.MULTILINE)


def test_the_command_shows_a_schedule_again(capsys: pytest.CaptureFixture[str]) -> None:
    bug = "siblings are not fenced"
    assert main(["--replay", "two siblings@2.1", "--bug", bug]) == 1
    assert "BROKEN: aa and bb of one offer set run" in capsys.readouterr().out
    assert main(["--replay", "two siblings@2.1"]) == 0
