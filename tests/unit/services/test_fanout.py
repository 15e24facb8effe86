"""The fan-out: one deadline, every node once, nothing that may be held dropped in silence."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial
from time import monotonic, sleep
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.contextvars import bound_contextvars
from structlog.testing import capture_logs

from gateway.clients.broker import CallContext
from gateway.clients.offers_reply import ReceivedOffer
from gateway.domain.coverage import Outcome
from gateway.domain.latency import LatencyRecord
from gateway.domain.reasons import ReasonCode
from gateway.services.answers import Completeness, Ended, NodeAnswer, NodeQuestion
from gateway.services.fanout import MAX_LATE_PER_NODE
from tests.support import faulty_nodes as nodes
from tests.support.asking import REFUSES, AnyBehaviour, Asking, asking
from tests.support.waiting import until


def outcomes(answers: Sequence[NodeAnswer]) -> dict[str, Outcome]:
    return {answer.node: answer.outcome for answer in answers}


def codes(answers: Sequence[NodeAnswer]) -> dict[str, ReasonCode | None]:
    return {a.node: a.reason.code if a.reason else None for a in answers}


def is_told(rig: Asking, node: str) -> bool:
    return rig.registry.get(node).snapshot().outcome is not None


def has_length(things: list[nodes.Asked], length: int) -> bool:
    return len(things) == length


async def until_quiet(rig: Asking) -> None:
    await until(lambda: not rig.fanout.calls_under_way)


async def test_nobody_to_ask_is_answered_at_once() -> None:
    async with asking({}) as rig:
        result = await rig.ask()
    assert (result.answers, result.ended) == ((), Ended.ALL_ANSWERED)


async def test_it_stops_when_all_have_answered() -> None:
    async with asking({"alpha": nodes.healthy(), "beta": nodes.says_no(), "gamma": REFUSES}) as rig:
        began = monotonic()
        result = await rig.ask(wait_s=5)
        took_s = monotonic() - began
    assert result.ended is Ended.ALL_ANSWERED
    assert took_s < 0.5
    assert outcomes(result.answers) == {
        "alpha": Outcome.ANSWERED,
        "beta": Outcome.NO,
        "gamma": Outcome.REFUSED,
    }


async def test_a_refusal_carries_the_node_s_own_words() -> None:
    async with asking({"alpha": nodes.says_no("no such image")}) as rig:
        (answer,) = (await rig.ask()).answers
    assert answer.reason is not None
    assert "no such image" in answer.reason.text()
    assert answer.reply is not None
    assert len(answer.reply.messages) == 1


async def test_a_yes_without_offers_is_a_no_with_its_own_reason() -> None:
    async with asking({"alpha": nodes.says_yes_without_offers}) as rig:
        result = await rig.ask()
    assert outcomes(result.answers) == {"alpha": Outcome.NO}
    assert codes(result.answers) == {"alpha": ReasonCode.NO_OFFERS_GIVEN}


async def test_it_stops_early_when_there_are_offers_enough() -> None:
    behaviours = {"alpha": nodes.healthy(2), "slow": nodes.answers_late(0.3)}
    async with asking(behaviours) as rig:
        result = await rig.ask(wait_s=5, completeness=Completeness(min_offers=2))
        await rig.until_late(1)
    assert result.ended is Ended.COMPLETE
    assert result.took_s < 0.3
    assert outcomes(result.answers) == {"alpha": Outcome.ANSWERED, "slow": Outcome.LATE}
    assert codes(result.answers)["slow"] is ReasonCode.NOT_WAITED_FOR
    assert len(rig.late[0].offers) == nodes.HEALTHY_OFFERS


async def test_too_few_offers_do_not_stop_it() -> None:
    behaviours = {"alpha": nodes.healthy(2), "slow": nodes.answers_late(0.05, 1)}
    async with asking(behaviours) as rig:
        result = await rig.ask(wait_s=5, completeness=Completeness(min_offers=3))
    assert outcomes(result.answers) == {"alpha": Outcome.ANSWERED, "slow": Outcome.ANSWERED}


async def test_offers_that_are_not_good_enough_do_not_count() -> None:
    def is_of_slow(node: str, offer: ReceivedOffer) -> bool:
        del offer
        return node == "slow"

    behaviours = {
        "alpha": nodes.healthy(),
        "slow": nodes.answers_late(0.05),
        "hung": nodes.hangs_before_headers,
    }
    rule = Completeness(min_offers=1, is_good_enough=is_of_slow)
    async with asking(behaviours) as rig:
        result = await rig.ask(wait_s=5, late_s=0, completeness=rule)
    assert outcomes(result.answers) == {
        "alpha": Outcome.ANSWERED,
        "slow": Outcome.ANSWERED,
        "hung": Outcome.LATE,
    }


async def test_a_required_node_is_waited_for_even_when_it_says_no() -> None:
    behaviours = {
        "alpha": nodes.healthy(),
        "slow": nodes.answers_late(0.05, 0),
        "hung": nodes.hangs_before_headers,
    }
    rule = Completeness(min_offers=1, required=frozenset({"slow"}))
    async with asking(behaviours) as rig:
        result = await rig.ask(wait_s=5, late_s=0, completeness=rule)
    assert result.ended is Ended.COMPLETE
    assert outcomes(result.answers)["slow"] is Outcome.NO


async def test_required_nodes_alone_do_not_shorten_the_wait() -> None:
    behaviours = {"alpha": nodes.healthy(), "slow": nodes.answers_late(0.05)}
    rule = Completeness(required=frozenset({"alpha"}))
    async with asking(behaviours) as rig:
        result = await rig.ask(wait_s=5, completeness=rule)
    assert result.ended is Ended.ALL_ANSWERED


async def test_answers_after_late_until_are_not_read_but_counted() -> None:
    async with asking({"alpha": nodes.answers_late(1)}) as rig:
        result = await rig.ask(wait_s=0.15, late_s=0.05)
        await until_quiet(rig)
        lost = rig.holds_lost("alpha")
    assert outcomes(result.answers) == {"alpha": Outcome.TIMEOUT}
    assert rig.late == []
    assert lost == 1


async def test_whoever_takes_longest_is_sent_to_first() -> None:
    order: list[str] = []

    def noting(name: str, delay_s: float) -> nodes.Behaviour:
        answer = nodes.answers_late(delay_s, 1)

        async def behave(asked: nodes.Asked, writer: asyncio.StreamWriter) -> None:
            order.append(name)
            await answer(asked, writer)

        return behave

    behaviours = {"quick": noting("quick", 0), "slow": noting("slow", 0.04)}
    behaviours |= {"middle": noting("middle", 0.02), "new": noting("new", 0)}
    async with asking(behaviours) as rig:
        await rig.ask()
        rig.registry.get("new").latency = LatencyRecord()
        order.clear()
        result = await rig.ask()
    assert order == ["new", "slow", "middle", "quick"]
    assert [answer.node for answer in result.answers] == ["quick", "slow", "middle", "new"]


async def test_a_busy_node_is_not_asked_after_the_deadline() -> None:
    async with asking({"alpha": nodes.answers_late(0.3)}, max_in_flight=1) as rig:
        results = await asyncio.gather(*(rig.ask(wait_s=0.15, late_s=5) for _ in range(3)))
        await rig.until_late(1)
        await until_quiet(rig)
        asked = rig.nodes["alpha"].asked
    found = [codes(result.answers)["alpha"] for result in results]
    assert found == [ReasonCode.HEADERS_TIMEOUT, ReasonCode.NODE_BUSY, ReasonCode.NODE_BUSY]
    assert len(asked) == 1
    assert len(rig.late) == 1
    assert rig.holds_lost("alpha") == 0


async def test_late_calls_do_not_keep_a_node_busy_and_are_bounded() -> None:
    extra = 3
    async with asking({"alpha": nodes.hangs_before_headers}, max_in_flight=1) as rig:
        asked = rig.nodes["alpha"].asked
        for number in range(1, MAX_LATE_PER_NODE + extra + 1):
            ask = asyncio.create_task(rig.ask(wait_s=60, late_s=60))
            await until(partial(has_length, asked, number))
            ask.cancel()
            await asyncio.wait([ask])
        await until(lambda: rig.fanout.calls_under_way <= MAX_LATE_PER_NODE)
        assert rig.holds_lost("alpha") == extra
        await rig.fanout.aclose()
        assert rig.holds_lost("alpha") == MAX_LATE_PER_NODE + extra


async def test_a_caller_who_leaves_leaves_no_offer_behind() -> None:
    behaviours: dict[str, AnyBehaviour] = {
        "alpha": nodes.healthy(),
        "slow": nodes.answers_late(0.1),
        "no": nodes.says_no(),
        "dead": REFUSES,
    }
    async with asking(behaviours) as rig:
        ask = asyncio.create_task(rig.ask(wait_s=5))
        await until(lambda: is_told(rig, "alpha"))
        await asyncio.sleep(0.01)
        ask.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ask
        await rig.until_late(3)
        await until_quiet(rig)
    assert outcomes(rig.late) == dict.fromkeys(("alpha", "slow", "no"), Outcome.LATE)
    assert sum(len(answer.offers) for answer in rig.late) == 2 * nodes.HEALTHY_OFFERS


async def test_closing_while_somebody_waits_gives_them_an_answer() -> None:
    async with asking({"alpha": nodes.hangs_before_headers, "beta": nodes.healthy()}) as rig:
        ask = asyncio.create_task(rig.ask(wait_s=5))
        await until(lambda: is_told(rig, "beta") and bool(rig.nodes["alpha"].asked))
        await rig.fanout.aclose()
        result = await ask
        lost = rig.holds_lost("alpha")
    assert outcomes(result.answers) == {"alpha": Outcome.ERROR, "beta": Outcome.ANSWERED}
    assert lost == 1


async def test_a_defect_in_taking_late_answers_is_logged_and_ends_nothing_else() -> None:
    async def broken(answer: NodeAnswer) -> None:
        raise LookupError(answer.node)

    slow = nodes.answers_late(0.3)
    async with asking({"alpha": slow, "beta": slow}) as rig:
        now = asyncio.get_running_loop().time()
        with capture_logs() as logs:
            await rig.fanout.ask(
                [NodeQuestion("alpha", b"{}"), NodeQuestion("beta", b"{}")],
                deadline=now + 0.15,
                late_until=now + 5,
                on_late=broken,
            )
            await until_quiet(rig)
    failed = [line for line in logs if line["event"] == "background_task_failed"]
    assert len(failed) == 2
    assert {line["log_level"] for line in failed} == {"error"}


async def test_offers_handed_over_while_closing_are_counted_as_lost() -> None:
    started = asyncio.Event()

    async def slow(answer: NodeAnswer) -> None:
        del answer
        started.set()
        await asyncio.Event().wait()

    async with asking({"alpha": nodes.answers_late(0.3)}) as rig:
        now = asyncio.get_running_loop().time()
        await rig.fanout.ask(
            [NodeQuestion("alpha", b"{}")], deadline=now + 0.15, late_until=now + 5, on_late=slow
        )
        await started.wait()
        await rig.fanout.aclose()
        assert rig.holds_lost("alpha") == nodes.HEALTHY_OFFERS


async def test_a_late_event_loop_loses_no_time_beyond_its_own() -> None:
    async with asking({"alpha": nodes.healthy(), "hung": nodes.hangs_before_headers}) as rig:
        await rig.ask(names=["alpha"])
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, sleep, 0.2)
        began = monotonic()
        result = await rig.ask(wait_s=0.1)
        took_s = monotonic() - began
    assert took_s < 0.35
    assert outcomes(result.answers) == {"alpha": Outcome.ANSWERED, "hung": Outcome.TIMEOUT}


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_lost_answer_is_asked_for_again_only_where_the_key_is_honoured(
    is_known: bool,
) -> None:
    behaviour = nodes.closes_first(nodes.honours_idempotency())
    async with asking({"alpha": behaviour}, honours_idempotency=is_known or None) as rig:
        result = await rig.ask(call=CallContext(idempotency_key="k1"))
        asked = rig.nodes["alpha"].asked
        lost = rig.holds_lost("alpha")
    assert [a.headers["idempotency-key"] for a in asked] == ["k1"] * (2 if is_known else 1)
    assert outcomes(result.answers)["alpha"] is (Outcome.ANSWERED if is_known else Outcome.ERROR)
    assert lost == (0 if is_known else 1)


async def test_an_answer_lost_twice_is_not_asked_for_a_third_time() -> None:
    async with asking({"alpha": nodes.closes_before_headers}, honours_idempotency=True) as rig:
        result = await rig.ask(call=CallContext(idempotency_key="k1"))
        asked = rig.nodes["alpha"].asked
    assert codes(result.answers) == {"alpha": ReasonCode.CONNECTION_LOST}
    assert len(asked) == 2
    assert rig.holds_lost("alpha") == 1


@pytest.mark.parametrize(
    ("behaviour", "expected"), [(nodes.honours_idempotency(), True), (nodes.healthy(), False)]
)
async def test_a_node_s_honouring_of_keys_is_learned_from_its_answer(
    behaviour: nodes.Behaviour,
    expected: bool,
) -> None:
    async with asking({"alpha": behaviour}) as rig:
        node = rig.registry.get("alpha")
        await rig.ask()
        assert node.honours_idempotency is None
        await rig.ask(call=CallContext(idempotency_key="k1"))
        assert node.honours_idempotency is expected


async def test_a_request_is_logged_once_and_what_failed_of_it_by_itself() -> None:
    behaviours: dict[str, AnyBehaviour] = {
        "alpha": nodes.healthy(),
        "slow": nodes.answers_late(0.3),
        "dead": REFUSES,
    }
    async with asking(behaviours) as rig:
        with bound_contextvars(request_id="r1"), capture_logs() as logs:
            await rig.ask(wait_s=0.15, late_s=5)
            await rig.until_late(1)
    failed: dict[str, Any] = {line["node"]: line for line in logs if line["event"] == "node_failed"}
    assert len([line for line in logs if line["event"] == "node_failed"]) == 2
    assert (failed["slow"]["outcome"], failed["slow"]["reason"]) == ("timeout", "headers_timeout")
    assert (failed["dead"]["outcome"], failed["dead"]["log_level"]) == ("refused", "warning")
    (asked,) = [line for line in logs if line["event"] == "nodes_asked"]
    assert asked["offers"] == nodes.HEALTHY_OFFERS
    assert (asked["answered"], asked["timeout"], asked["refused"]) == (1, 1, 1)
    assert asked["took_ms"] >= 150


async def test_every_node_call_is_counted_once_by_its_outcome() -> None:
    async with asking({"alpha": nodes.healthy(), "slow": nodes.answers_late(0.3)}) as rig:
        await rig.ask(wait_s=0.15, late_s=5)
        await rig.until_late(1)

        def count(node: str, outcome: str) -> float | None:
            labels = {"node": node, "outcome": outcome}
            return rig.collector.get_sample_value("execbroker_fanout_node_seconds_count", labels)

        assert count("alpha", "answered") == 1
        assert count("slow", "timeout") == 1
        assert count("slow", "late") is None
        late = rig.collector.get_sample_value("execbroker_late_answers_total", {"node": "slow"})
        assert late == 1


async def test_a_node_is_asked_once_only_and_must_be_known() -> None:
    async with asking({"alpha": nodes.healthy()}) as rig:
        with pytest.raises(ValueError, match="once"):
            await rig.ask(names=["alpha", "alpha"])
        with pytest.raises(KeyError):
            await rig.ask(names=["nobody"])
        assert rig.nodes["alpha"].asked == []


BEHAVIOURS: dict[str, AnyBehaviour] = {
    "healthy": nodes.healthy(1),
    "no": nodes.says_no(),
    "garbage": nodes.answers_garbage,
    "closes": nodes.closes_mid_body,
    "hangs": nodes.hangs_before_headers,
    "slow": nodes.answers_late(0.02, 1),
    "late": nodes.answers_late(0.08, 1),
    "dead": REFUSES,
}


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kinds=st.lists(st.sampled_from(sorted(BEHAVIOURS)), max_size=6),
    min_offers=st.none() | st.integers(0, 3),
)
def test_every_node_is_in_the_answer_once_and_no_offer_vanishes_uncounted(
    kinds: list[str], min_offers: int | None
) -> None:
    async def run() -> None:
        behaviours = {f"{i}-{kind}": BEHAVIOURS[kind] for i, kind in enumerate(kinds)}
        async with asking(behaviours) as rig:
            rule = Completeness(min_offers=min_offers)
            result = await rig.ask(wait_s=0.05, late_s=0.1, completeness=rule)
            await until_quiet(rig)
            assert [answer.node for answer in result.answers] == list(behaviours)
            [answer.to_coverage() for answer in result.answers]
            came = Counter(a.node for a in (*result.answers, *rig.late) for _ in a.offers)
            for name, node in rig.nodes.items():
                if name.partition("-")[2] in {"healthy", "slow", "late"}:
                    assert came[name] + rig.holds_lost(name) >= len(node.asked)
                assert came[name] <= 1

    asyncio.run(run())
