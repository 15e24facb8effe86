"""Several lakes: each is asked about its own; that one is down is not that data are not there."""

import asyncio

from gateway.clients.lakes.combined import CombinedLake, LakeRoute
from gateway.clients.lakes.static import StaticLake
from gateway.domain.holdings import Did, DidKind, Holding
from gateway.domain.reasons import ReasonCode
from gateway.services.locating_guard import GuardedLake
from tests.support.lake_stubs import StubRucio, did, fails, in_s, says
from tests.support.locating import guarded_rucio


def lake(name: str, *dids: Did, size: int = 1) -> StaticLake:
    return StaticLake(name, [Holding(one, DidKind.FILE, bytes=size) for one in dids])


async def test_each_lake_is_asked_about_its_own_namespaces() -> None:
    low, mid = Did("ska-low", "a"), Did("ska-mid", "a")
    combined = CombinedLake(
        [
            LakeRoute(lake("one", low, mid, size=1), ("ska-low",)),
            LakeRoute(lake("two", low, mid, size=2), ("ska-*",)),
        ]
    )
    result = await combined.locate([low, mid], deadline=in_s(1))
    assert {one: holding.bytes for one, holding in result.holdings.items()} == {low: 1, mid: 2}


async def test_what_the_first_does_not_know_another_may() -> None:
    combined = CombinedLake([LakeRoute(lake("one")), LakeRoute(lake("two", did("a")))])
    result = await combined.locate([did("a"), did("b")], deadline=in_s(1))
    assert set(result.holdings) == {did("a")}
    assert result.missing[did("b")].code is ReasonCode.DATA_NOT_FOUND


async def test_data_that_no_lake_is_for_are_not_known_rather_than_not_there() -> None:
    combined = CombinedLake([LakeRoute(lake("one"), ("ska-*",))])
    result = await combined.locate([did("a")], deadline=in_s(1))
    assert result.missing[did("a")].code is ReasonCode.DATA_PLACE_UNKNOWN
    assert "test" in result.missing[did("a")].text()


async def test_without_any_lake_nothing_is_known() -> None:
    result = await CombinedLake([]).locate([did("a")], deadline=in_s(1))
    assert result.missing[did("a")].code is ReasonCode.DATA_PLACE_UNKNOWN


async def test_while_a_lake_is_down_nobody_can_say_that_data_are_not_there() -> None:
    stub = StubRucio(faults={"/dids/bulkmeta": fails("500 Internal Server Error")})
    async with guarded_rucio(stub) as broken:
        combined = CombinedLake([LakeRoute(lake("one", did("b"))), LakeRoute(broken)])
        result = await combined.locate([did("a"), did("b")], deadline=in_s(2))
    assert result.missing[did("a")].code is ReasonCode.LAKE_FAILED
    assert set(result.holdings) == {did("b")}
    assert [note.code for note in result.notes] == [ReasonCode.LAKE_FAILED]


async def test_a_slow_lake_delays_the_others_no_longer_than_the_deadline() -> None:
    async def slow(asked: object, writer: object) -> None:
        await asyncio.Event().wait()

    stub = StubRucio(faults={"/dids/bulkmeta": slow})
    async with guarded_rucio(stub) as hung:
        combined = CombinedLake([LakeRoute(hung), LakeRoute(lake("one", did("a")))])
        began = asyncio.get_running_loop().time()
        result = await combined.locate([did("a")], deadline=in_s(0.2))
        assert asyncio.get_running_loop().time() - began < 0.5
    assert set(result.holdings) == {did("a")}


async def test_health_is_that_of_all_of_them() -> None:
    stub = StubRucio(faults={"/ping": says(b"?", "500 Internal Server Error")})
    async with guarded_rucio(stub) as broken:
        assert isinstance(broken, GuardedLake)
        combined = CombinedLake([LakeRoute(lake("one")), LakeRoute(broken)])
        health = await combined.health(deadline=in_s(1))
    assert not health.is_up
    assert "one: 0 entries; rucio: HTTP status 500" in health.detail
