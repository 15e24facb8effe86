"""A lake behind a memory: asked once for all who wait, never for longer than they may wait."""

import asyncio
from dataclasses import replace

from prometheus_client import CollectorRegistry

from gateway.domain.reasons import ReasonCode
from gateway.services.locating_breaker import BreakerLimits, BreakerPhase
from tests.support.faulty_nodes import Asked
from tests.support.lake_stubs import (
    StubRucio,
    chunked,
    did,
    fails,
    hangs,
    in_s,
    lines,
)
from tests.support.locating import LIMITS, caching, guarded_rucio
from tests.support.waiting import until

BROKEN = fails("500 Internal Server Error")


class Gate:
    """Lets calls pass when it is opened, and then answers them as the stub would."""

    def __init__(self, stub: StubRucio, path: str) -> None:
        self.stub = stub
        self.path = path
        self.event = asyncio.Event()
        stub.faults[path] = self.answer

    async def answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        await self.event.wait()
        await chunked(self.stub._body(self.path, asked))(asked, writer)


async def test_fifty_at_once_are_one_look_up() -> None:
    stub = StubRucio(files={"a": ("UK",)})
    async with guarded_rucio(stub) as lake:
        results = await asyncio.gather(
            *(lake.locate([did("a"), did("b")], deadline=in_s(2)) for _ in range(50))
        )
    assert all(did("a") in result.holdings for result in results)
    assert all(did("b") in result.missing for result in results)
    assert stub.calls == {"/auth/userpass": 1, "/dids/bulkmeta": 1, "/replicas/list": 1}


async def test_overlapping_questions_ask_only_for_what_nobody_asks_yet() -> None:
    stub = StubRucio(files={"a": ("UK",), "b": ("UK",), "c": ("UK",)})
    async with guarded_rucio(stub) as lake:
        both = await asyncio.gather(
            lake.locate([did("a"), did("b")], deadline=in_s(2)),
            lake.locate([did("b"), did("c")], deadline=in_s(2)),
        )
    assert [len(result.holdings) for result in both] == [2, 2]
    assert stub.calls["/dids/bulkmeta"] == 2


async def test_a_look_up_outlives_those_who_stop_waiting() -> None:
    stub = StubRucio(files={"a": ("UK",)})
    gate = Gate(stub, "/dids/bulkmeta")
    async with guarded_rucio(stub) as lake:
        first = await lake.locate([did("a")], deadline=in_s(0.05))
        assert first.missing[did("a")].code is ReasonCode.LAKE_TIMEOUT
        leaving = asyncio.create_task(lake.locate([did("a")], deadline=in_s(2)))
        await asyncio.sleep(0.01)
        leaving.cancel()
        gate.event.set()
        second = await lake.locate([did("a")], deadline=in_s(2))
    assert did("a") in second.holdings
    assert stub.calls["/dids/bulkmeta"] == 1


async def test_an_answer_is_fresh_for_a_while_and_says_its_age() -> None:
    stub = StubRucio(files={"a": ("UK",)})
    async with guarded_rucio(stub) as lake:
        await lake.locate([did("a")], deadline=in_s(2))
        await asyncio.sleep(0.02)
        again = await lake.locate([did("a")], deadline=in_s(2))
    assert 0.02 <= again.holdings[did("a")].age_s < 1
    assert not again.holdings[did("a")].is_stale
    assert stub.calls["/dids/bulkmeta"] == 1


async def test_open_datasets_are_looked_up_again_sooner() -> None:
    stub = StubRucio(files={"a": ("UK",)}, datasets={"d": ("a",)})
    async with guarded_rucio(stub, caching(open_s=0.01)) as lake:
        for _ in range(2):
            await lake.locate([did("a"), did("d")], deadline=in_s(2))
            await asyncio.sleep(0.02)
    assert stub.calls["deep"] == 2
    assert stub.calls["/replicas/list"] == 1


async def test_what_is_not_there_is_remembered_for_a_short_time_only() -> None:
    stub = StubRucio()
    async with guarded_rucio(stub, caching(negative_s=0.05)) as lake:
        for _ in range(3):
            await lake.locate([did("a")], deadline=in_s(2))
        assert stub.calls["/dids/bulkmeta"] == 1
        await asyncio.sleep(0.05)
        stub.files["a"] = ("UK",)
        result = await lake.locate([did("a")], deadline=in_s(2))
    assert did("a") in result.holdings


async def test_a_file_without_a_copy_is_looked_up_again_soon() -> None:
    stub = StubRucio(files={"a": ()})
    async with guarded_rucio(stub, caching(negative_s=0.01)) as lake:
        await lake.locate([did("a")], deadline=in_s(2))
        await asyncio.sleep(0.02)
        stub.faults["/dids/bulkmeta"] = BROKEN
        result = await lake.locate([did("a")], deadline=in_s(2))
    assert result.missing[did("a")].code is ReasonCode.LAKE_FAILED  # and nothing stale is used


async def test_while_the_lake_fails_old_answers_are_used_and_marked() -> None:
    stub = StubRucio(files={"a": ("UK",)})
    async with guarded_rucio(stub, caching(closed_s=0.01)) as lake:
        await lake.locate([did("a")], deadline=in_s(2))
        await asyncio.sleep(0.02)
        stub.faults["/dids/bulkmeta"] = BROKEN
        result = await lake.locate([did("a"), did("new")], deadline=in_s(2))
        assert result.holdings[did("a")].is_stale
        assert result.holdings[did("a")].age_s >= 0.02
        assert result.missing[did("new")].code is ReasonCode.LAKE_FAILED
        assert [note.code for note in result.notes] == [ReasonCode.LAKE_FAILED]


async def test_an_old_answer_is_not_used_for_ever() -> None:
    stub = StubRucio(files={"a": ("UK",)})
    async with guarded_rucio(stub, caching(closed_s=0.01, stale_s=0.03)) as lake:
        await lake.locate([did("a")], deadline=in_s(2))
        await asyncio.sleep(0.04)
        stub.faults["/dids/bulkmeta"] = BROKEN
        result = await lake.locate([did("a")], deadline=in_s(2))
    assert did("a") in result.missing


async def test_errors_are_not_remembered() -> None:
    stub = StubRucio(files={"a": ("UK",)}, faults={"/dids/bulkmeta": BROKEN})
    async with guarded_rucio(stub) as lake:
        await lake.locate([did("a")], deadline=in_s(2))
        stub.faults.clear()
        assert did("a") in (await lake.locate([did("a")], deadline=in_s(2))).holdings


async def test_a_lake_that_fails_again_and_again_is_left_alone_then_tried_once() -> None:
    registry = CollectorRegistry()
    stub = StubRucio(files={"a": ("UK",)}, faults={"/dids/bulkmeta": BROKEN})
    resting = {"lake": "rucio"}
    async with guarded_rucio(stub, registry=registry) as lake:
        for _ in range(3):
            await lake.locate([did("a")], deadline=in_s(2))
        await until(lambda: registry.get_sample_value("execbroker_lake_resting", resting) == 1)
        result = await lake.locate([did("a")], deadline=in_s(2))
        assert result.missing[did("a")].code is ReasonCode.LAKE_RESTING
        assert result.notes == (result.missing[did("a")],)
        assert stub.calls["/dids/bulkmeta"] == 3
        assert not (await lake.health(deadline=in_s(1))).is_up
        await until(lambda: lake._breaker.rest_s(lake._clock.monotonic()) == 0)
        await asyncio.gather(*(lake.locate([did("a")], deadline=in_s(1)) for _ in range(5)))
        assert stub.calls["/dids/bulkmeta"] == 4  # the probe failed, the others waited for it
        stub.faults.clear()
        await until(lambda: lake._breaker.rest_s(lake._clock.monotonic()) == 0)
        assert did("a") in (await lake.locate([did("a")], deadline=in_s(2))).holdings
        assert registry.get_sample_value("execbroker_lake_resting", resting) == 0
        assert (await lake.health(deadline=in_s(1))).is_up


async def test_refused_identifiers_are_no_sign_of_a_failing_lake() -> None:
    refusal = fails("500 Internal Server Error", "InvalidObject")
    stub = StubRucio(faults={"/dids/bulkmeta": refusal})
    async with guarded_rucio(stub, caching(negative_s=0.001)) as lake:
        for index in range(6):
            result = await lake.locate([did(f"b a d {index}")], deadline=in_s(2))
            assert [why.code for why in result.missing.values()] == [ReasonCode.DATA_PLACE_UNKNOWN]


async def test_a_hung_lake_is_left_alone_long_before_its_calls_end() -> None:
    stub = StubRucio(files={"a": ("UK",)}, faults={"/dids/bulkmeta": hangs})
    async with guarded_rucio(stub) as lake:
        for index in range(3):
            await lake.locate([did(f"f{index}")], deadline=in_s(0.15))
        began = asyncio.get_running_loop().time()
        result = await lake.locate([did("a")], deadline=in_s(2))
        assert asyncio.get_running_loop().time() - began < 0.1
        assert result.missing[did("a")].code is ReasonCode.LAKE_RESTING


async def test_a_request_that_hardly_waits_is_no_sign_of_a_failing_lake() -> None:
    stub = StubRucio(files={"a": ("UK",)})
    gate = Gate(stub, "/dids/bulkmeta")
    async with guarded_rucio(stub, replace(LIMITS, silent_s=1.0)) as lake:
        for index in range(6):
            await lake.locate([did(f"f{index}")], deadline=in_s(0.001))
        assert lake._breaker.phase is BreakerPhase.CLOSED
        gate.event.set()


async def test_what_is_known_is_told_although_the_rest_hangs() -> None:
    stub = StubRucio(files={"a": ("UK",)}, datasets={"slow": ("a",)})
    stub.faults["/replicas/test/slow/"] = hangs
    async with guarded_rucio(stub) as lake:
        result = await lake.locate([did("a"), did("slow")], deadline=in_s(0.5))
        assert set(result.holdings) == {did("a")}
        assert result.missing[did("slow")].code is ReasonCode.LAKE_TIMEOUT
        assert lake._breaker.phase is BreakerPhase.CLOSED


async def test_the_rough_picture_is_told_at_once_and_the_exact_one_kept() -> None:
    stub = StubRucio(files={"a": ("UK",), "b": ("JP",)}, datasets={"d": ("a", "b")})
    gate = Gate(stub, "/replicas/list")
    async with guarded_rucio(stub) as lake:
        rough = await lake.locate([did("d")], deadline=in_s(2))
        assert rough.holdings[did("d")].is_approximate
        gate.event.set()
        await until(lambda: not len(lake._tasks))
        exact = await lake.locate([did("d")], deadline=in_s(2))
        assert not exact.holdings[did("d")].is_approximate
    assert stub.calls["deep"] == 1


async def test_too_many_look_ups_under_way_are_not_added_to() -> None:
    stub = StubRucio(faults={"/dids/bulkmeta": hangs})
    patient = replace(LIMITS, fetches=5, silent_s=60, breaker=BreakerLimits(failures=1000))
    async with guarded_rucio(stub, patient) as lake:
        for index in range(7):
            await lake.locate([did(f"f{index}")], deadline=in_s(0.001))
        result = await lake.locate([did("f7")], deadline=in_s(0.001))
        assert result.missing[did("f7")].code is ReasonCode.LAKE_RESTING
        assert len(lake._tasks) == 5


async def test_what_ends_a_look_up_ends_the_waiting_too() -> None:
    row = {"scope": "test", "name": "a", "did_type": "FILE"}
    stub = StubRucio(faults={"/dids/bulkmeta": chunked(lines(row))})
    stub.faults["/replicas/list"] = hangs
    async with guarded_rucio(stub) as lake:
        waiting = asyncio.create_task(lake.locate([did("a")], deadline=in_s(10)))
        await until(lambda: stub.calls["/replicas/list"] == 1)
        await lake.aclose()
        result = await waiting
    assert did("a") in result.missing


async def test_one_thing_asked_twice_in_one_question_is_one_answer() -> None:
    stub = StubRucio(files={"a": ("UK",)})
    async with guarded_rucio(stub) as lake:
        result = await lake.locate([did("a"), did("a")], deadline=in_s(2))
    assert len(result.holdings) == 1


async def test_where_answers_came_from_is_counted() -> None:
    registry = CollectorRegistry()
    stub = StubRucio(files={"a": ("UK",)})
    async with guarded_rucio(stub, caching(negative_s=0.001), registry) as lake:
        await lake.locate([did("a"), did("b")], deadline=in_s(2))
        await lake.locate([did("a")], deadline=in_s(2))
        stub.faults["/dids/bulkmeta"] = BROKEN
        await asyncio.sleep(0.01)
        await lake.locate([did("b")], deadline=in_s(2))

    def count(answer: str) -> float | None:
        labels = {"lake": "rucio", "answer": answer}
        return registry.get_sample_value("execbroker_lake_answers_total", labels)

    assert [count(answer) for answer in ("asked", "fresh", "missing")] == [2, 1, 1]
