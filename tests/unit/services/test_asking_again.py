"""Second tries, own limits and waves of the fan-out, over real nodes."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from gateway.clients.broker import CallContext
from gateway.domain.coverage import Outcome
from gateway.domain.reasons import ReasonCode
from gateway.services.answers import Completeness, Ended, NodeAnswer, NodeQuestion, Pace
from tests.support import faulty_nodes as nodes
from tests.support.asking import REFUSES, AnyBehaviour, Asking, asking
from tests.support.waiting import until

KEY: Final = CallContext(idempotency_key="k1")
STALL_S: Final = 20.0
"""Far longer than any of these tests may wait for a node that stalls."""


def stalls_first(stall_s: float = STALL_S) -> nodes.Behaviour:
    """Honours keys; the first request under each key takes its time, the second does not."""
    then = nodes.honours_idempotency()
    known: set[str] = set()

    async def behave(asked: nodes.Asked, writer: asyncio.StreamWriter) -> None:
        key = asked.headers.get("idempotency-key", "")
        if key not in known:
            known.add(key)
            await asyncio.sleep(stall_s)
        await then(asked, writer)

    return behave


def hedged(rig: Asking, node: str) -> dict[str, float]:
    """Second tries at this node, by which of the two won."""
    found = {}
    for won in ("first", "second", "none"):
        labels = {"node": node, "won": won}
        value = rig.collector.get_sample_value("execbroker_fanout_hedges_total", labels)
        if value:
            found[won] = value
    return found


def questions(
    rig: Asking, *, hedge_after_s: float | None = None, own_limit_s: float | None = None
) -> list[NodeQuestion]:
    return [NodeQuestion(name, b"{}", KEY, own_limit_s, hedge_after_s) for name in rig.nodes]


def codes(answers: tuple[NodeAnswer, ...]) -> dict[str, ReasonCode | None]:
    return {a.node: a.reason.code if a.reason else None for a in answers}


def outcomes(answers: tuple[NodeAnswer, ...]) -> dict[str, Outcome]:
    return {answer.node: answer.outcome for answer in answers}


async def test_a_node_that_stalls_is_asked_again_and_the_first_answer_counts() -> None:
    async with asking({"alpha": stalls_first()}, honours_idempotency=True) as rig:
        result = await rig.put(questions(rig, hedge_after_s=0.05), wait_s=4)
        asked = rig.nodes["alpha"].asked
        assert rig.nodes["alpha"].connections == 2
        # Long before the first one's own end.
        await until(lambda: not rig.fanout.calls_under_way, within_s=2)
        assert rig.holds_lost("alpha") == 0
        assert hedged(rig, "alpha") == {"second": 1}
    assert outcomes(result.answers) == {"alpha": Outcome.ANSWERED}
    assert result.took_s < 2
    assert [one.headers["idempotency-key"] for one in asked] == ["k1", "k1"]
    assert rig.late == []


async def test_a_node_that_answers_after_its_second_try_began_is_believed_once() -> None:
    quick = nodes.honours_idempotency()
    count = 0

    async def behave(asked: nodes.Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        await asyncio.sleep(0.15 if count == 1 else STALL_S)
        await quick(asked, writer)

    async with asking({"alpha": behave}, honours_idempotency=True) as rig:
        result = await rig.put(questions(rig, hedge_after_s=0.02), wait_s=4)
        await until(lambda: not rig.fanout.calls_under_way)
        assert hedged(rig, "alpha") == {"first": 1}
        assert rig.registry.get("alpha").snapshot().in_flight == 0
    assert count == 2
    assert len(result.answers[0].offers) == nodes.HEALTHY_OFFERS
    assert rig.late == []


async def test_a_failed_try_waits_for_the_other_one() -> None:
    quick = nodes.honours_idempotency()
    count = 0

    async def behave(asked: nodes.Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count == 1:
            await asyncio.sleep(0.2)
            await quick(asked, writer)
        else:
            writer.write(nodes.http_reply(b"", status="500 Internal Server Error"))

    async with asking({"alpha": behave}, honours_idempotency=True) as rig:
        result = await rig.put(questions(rig, hedge_after_s=0.02), wait_s=4)
    assert count == 2
    assert outcomes(result.answers) == {"alpha": Outcome.ANSWERED}


async def test_a_node_of_which_both_tries_fail_has_one_outcome_and_is_lost_once() -> None:
    async def behave(asked: nodes.Asked, writer: asyncio.StreamWriter) -> None:
        del asked
        await asyncio.sleep(0.1)
        writer.close()

    async with asking({"alpha": behave}, honours_idempotency=True) as rig:
        result = await rig.put(questions(rig, hedge_after_s=0.02), wait_s=4)
        await until(lambda: not rig.fanout.calls_under_way)
        assert rig.holds_lost("alpha") == 1
        assert hedged(rig, "alpha") == {"none": 1}
    assert codes(result.answers) == {"alpha": ReasonCode.CONNECTION_LOST}


async def test_a_node_not_known_to_honour_keys_is_asked_once_however_slow() -> None:
    async with asking({"alpha": nodes.answers_late(0.2)}) as rig:
        result = await rig.put(questions(rig, hedge_after_s=0.02), wait_s=4)
        assert len(rig.nodes["alpha"].asked) == 1
    assert outcomes(result.answers) == {"alpha": Outcome.ANSWERED}


async def test_of_many_slow_nodes_only_a_share_is_asked_again() -> None:
    slow = {f"n{i}": nodes.honours_idempotency() for i in range(4)}

    def late(then: nodes.Behaviour) -> nodes.Behaviour:
        async def behave(asked: nodes.Asked, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.2)
            await then(asked, writer)

        return behave

    behaviours = {name: late(then) for name, then in slow.items()}
    async with asking(behaviours, honours_idempotency=True) as rig:
        result = await rig.put(questions(rig, hedge_after_s=0.02), wait_s=4)
        asked = sum(len(node.asked) for node in rig.nodes.values())
    assert set(outcomes(result.answers).values()) == {Outcome.ANSWERED}
    assert asked == 4 + 1


async def test_a_caller_who_leaves_during_a_second_try_leaves_no_offer_behind() -> None:
    then = nodes.honours_idempotency()

    async def behave(asked: nodes.Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        await then(asked, writer)

    async with asking({"alpha": behave}, honours_idempotency=True) as rig:
        ask = asyncio.create_task(rig.put(questions(rig, hedge_after_s=0.02), wait_s=4))
        await until(lambda: len(rig.nodes["alpha"].asked) == 2)
        ask.cancel()
        await asyncio.wait([ask])
        await rig.until_late(1)
        await until(lambda: not rig.fanout.calls_under_way)
        assert rig.holds_lost("alpha") == 0
    assert [len(answer.offers) for answer in rig.late] == [nodes.HEALTHY_OFFERS]


async def test_a_node_beyond_its_own_limit_holds_nobody_up_and_is_still_taken_in() -> None:
    behaviours = {"alpha": nodes.healthy(), "slow": nodes.answers_late(0.4)}
    async with asking(behaviours) as rig:
        result = await rig.put(questions(rig, own_limit_s=0.1), wait_s=4)
        await rig.until_late(1)
        assert rig.registry.get("slow").snapshot().track_record["late"] == 0
    assert result.ended is Ended.OWN_LIMITS
    assert result.took_s < 0.4
    assert outcomes(result.answers) == {"alpha": Outcome.ANSWERED, "slow": Outcome.LATE}
    why = result.answers[1].reason
    assert why is not None
    assert (why.code, why.values["limit_ms"]) == (ReasonCode.BEYOND_OWN_LIMIT, "100")
    assert rig.late[0].node == "slow"


async def test_own_limits_wait_for_a_node_within_its_limit() -> None:
    behaviours = {"quick": nodes.healthy(), "slow": nodes.answers_late(0.3), "hung": hangs}
    async with asking(behaviours) as rig:
        asked = [
            NodeQuestion("quick", b"{}", own_limit_s=0.05),
            NodeQuestion("slow", b"{}", own_limit_s=2.0),
            NodeQuestion("hung", b"{}", own_limit_s=0.05),
        ]
        result = await rig.put(asked, wait_s=4, late_s=0)
    assert result.ended is Ended.OWN_LIMITS
    assert outcomes(result.answers)["slow"] is Outcome.ANSWERED
    assert result.took_s < 1.5


async def test_a_node_without_a_limit_is_waited_for() -> None:
    behaviours = {"quick": nodes.healthy(), "new": nodes.answers_late(0.3), "hung": hangs}
    async with asking(behaviours) as rig:
        asked = [
            NodeQuestion("quick", b"{}", own_limit_s=0.05),
            NodeQuestion("new", b"{}"),
            NodeQuestion("hung", b"{}", own_limit_s=0.05),
        ]
        result = await rig.put(asked, wait_s=4, late_s=0)
    assert outcomes(result.answers)["new"] is Outcome.ANSWERED


async def test_without_any_offer_the_whole_deadline_is_used() -> None:
    behaviours: dict[str, AnyBehaviour] = {
        "no": nodes.says_no(),
        "slow": nodes.answers_late(0.3),
        "dead": REFUSES,
    }
    async with asking(behaviours) as rig:
        result = await rig.put(questions(rig, own_limit_s=0.05), wait_s=4)
    assert result.ended is Ended.ALL_ANSWERED
    assert outcomes(result.answers)["slow"] is Outcome.ANSWERED


async def test_a_node_silent_beyond_its_limit_is_known_to_be_silent_at_the_deadline() -> None:
    async with asking({"alpha": nodes.healthy(), "hung": hangs}) as rig:
        await rig.put(questions(rig, own_limit_s=0.05), wait_s=0.3, late_s=5)
        node = rig.registry.get("hung")
        assert node.snapshot().outcome is Outcome.LATE
        await until(lambda: node.snapshot().outcome is Outcome.TIMEOUT)
        mean_s = node.latency.mean_s
    assert mean_s is not None
    assert mean_s >= 0.25


async def hangs(asked: nodes.Asked, writer: asyncio.StreamWriter) -> None:
    """Takes the request and says nothing."""
    await nodes.hangs_before_headers(asked, writer)


def named(behaviours: dict[str, AnyBehaviour]) -> Iterator[NodeQuestion]:
    return (NodeQuestion(name, b"{}") for name in behaviours)


PACE: Final = Pace(first=2, every_s=10, wanted=4, per_node=2, max_holds=100, holds_each=2)


async def test_no_more_are_asked_when_the_first_wave_gives_enough() -> None:
    behaviours: dict[str, AnyBehaviour] = {f"n{i}": nodes.healthy() for i in range(8)}
    async with asking(behaviours) as rig:
        result = await rig.put(named(behaviours), wait_s=4, pace=PACE)
        asked = [name for name, node in rig.nodes.items() if node.asked]
    assert asked == ["n0", "n1"]
    assert (result.ended, result.unasked) == (Ended.ALL_ANSWERED, ReasonCode.NOT_NEEDED)


async def test_waves_go_on_twice_as_large_until_there_are_offers_enough() -> None:
    behaviours: dict[str, AnyBehaviour] = {f"n{i}": nodes.says_no() for i in range(6)}
    behaviours |= {f"n{i}": nodes.healthy() for i in range(6, 20)}
    async with asking(behaviours) as rig:
        result = await rig.put(named(behaviours), wait_s=4, pace=PACE)
        asked = [name for name, node in rig.nodes.items() if node.asked]
    assert len(asked) == 2 + 4 + 8
    assert result.unasked is ReasonCode.NOT_NEEDED
    assert result.took_s < 2


async def test_a_silent_wave_holds_the_next_one_up_for_its_share_of_the_time_only() -> None:
    behaviours: dict[str, AnyBehaviour] = {"a": hangs, "b": hangs, "c": nodes.healthy()}
    behaviours |= {"d": nodes.healthy(), "e": nodes.healthy(), "f": nodes.healthy()}
    async with asking(behaviours) as rig:
        pace = replace(PACE, every_s=0.5)
        asked = [NodeQuestion(name, b"{}", own_limit_s=pace.every_s) for name in behaviours]
        result = await rig.put(asked, wait_s=10, late_s=0, pace=pace)
    assert result.ended is Ended.OWN_LIMITS
    assert 0.5 <= result.took_s < 5
    assert outcomes(result.answers)["c"] is Outcome.ANSWERED
    assert result.unasked is None


async def test_who_holds_as_much_as_may_be_held_ends_the_asking() -> None:
    behaviours: dict[str, AnyBehaviour] = {f"n{i}": nodes.healthy() for i in range(8)}
    pace = replace(PACE, wanted=100, max_holds=10, holds_each=4)
    async with asking(behaviours) as rig:
        result = await rig.put(named(behaviours), wait_s=4, pace=pace)
        asked = [name for name, node in rig.nodes.items() if node.asked]
    assert asked == ["n0", "n1"]
    assert result.unasked is ReasonCode.HOLD_LIMIT


async def test_nodes_whose_turn_never_came_are_said_to_have_had_no_time() -> None:
    behaviours: dict[str, AnyBehaviour] = {"a": hangs, "b": hangs, "c": nodes.healthy()}
    async with asking(behaviours) as rig:
        result = await rig.put(named(behaviours), wait_s=0.2, late_s=5, pace=PACE)
        assert rig.nodes["c"].asked == []
    assert (result.ended, result.unasked) == (Ended.DEADLINE, ReasonCode.NO_TIME_LEFT)


async def test_offers_enough_end_the_asking_in_the_middle_of_a_wave() -> None:
    behaviours: dict[str, AnyBehaviour] = {"a": nodes.healthy(4), "b": hangs, "c": nodes.healthy()}
    async with asking(behaviours) as rig:
        rule = Completeness(min_offers=2)
        result = await rig.put(named(behaviours), wait_s=4, late_s=0, pace=PACE, completeness=rule)
        assert rig.nodes["c"].asked == []
    assert (result.ended, result.unasked) == (Ended.COMPLETE, ReasonCode.NOT_NEEDED)
