"""The places of a node: commands first, nobody kept waiting in vain, none lost."""

import asyncio

import pytest

from gateway.clients.exchange import NodeTimeoutError, Stage
from gateway.domain.concurrency import ConcurrencyLimit
from gateway.services.node_places import MAX_WAITING, Lane, NodePlaces


def places_of(most: int, limit: ConcurrencyLimit | None = None) -> NodePlaces:
    return NodePlaces(most, limit or ConcurrencyLimit(1, most))


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def take(places: NodePlaces, lane: Lane = Lane.OFFERS, usual_s: float | None = None) -> None:
    await places.take(lane, soon(), usual_s)


async def waits(work: "asyncio.Task[None]") -> bool:
    """Whether it still waits after everybody had a turn."""
    for _ in range(3):
        await asyncio.sleep(0)
    return not work.done()


async def test_no_more_than_the_most_are_under_way_and_all_get_their_turn() -> None:
    places = places_of(3)
    most = 0

    async def work() -> None:
        nonlocal most
        await take(places)
        most = max(most, places.in_use)
        await asyncio.sleep(0)
        places.give_back(Lane.OFFERS)

    await asyncio.gather(*(work() for _ in range(50)))
    assert most == 3
    assert (places.in_use, places.waiting) == (0, 0)


async def test_a_rush_for_offers_leaves_places_for_commands() -> None:
    places = places_of(16)
    for _ in range(14):
        await take(places)
    rush = asyncio.create_task(take(places))
    assert await waits(rush)
    await take(places, Lane.COMMANDS)
    await take(places, Lane.COMMANDS)
    assert places.in_use == 16
    places.give_back(Lane.COMMANDS)
    assert await waits(rush)
    places.give_back(Lane.OFFERS)
    await rush


async def test_commands_go_first_where_there_is_one_place_only() -> None:
    places = places_of(1)
    await take(places)
    offers = asyncio.create_task(take(places))
    assert await waits(offers)
    command = asyncio.create_task(take(places, Lane.COMMANDS))
    assert await waits(command)
    places.give_back(Lane.OFFERS)
    await command
    assert await waits(offers)
    places.give_back(Lane.COMMANDS)
    await offers


async def test_nobody_waits_for_a_place_that_will_not_come_in_time() -> None:
    places = places_of(1)
    await take(places)
    with pytest.raises(NodeTimeoutError) as refused:
        async with asyncio.timeout(1):
            await places.take(Lane.OFFERS, soon(10), usual_s=20)
    assert refused.value.stage is Stage.QUEUED
    with pytest.raises(NodeTimeoutError):
        await places.take(Lane.OFFERS, soon(0.03), usual_s=0.001)
    assert (places.in_use, places.waiting) == (1, 0)


async def test_the_queue_is_bounded() -> None:
    places = places_of(1)
    await take(places)
    waiting = [asyncio.create_task(take(places)) for _ in range(MAX_WAITING)]
    assert await waits(waiting[-1])
    with pytest.raises(NodeTimeoutError):
        await take(places)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert (places.in_use, places.waiting) == (1, 0)


async def test_a_place_given_to_somebody_who_just_left_goes_to_the_next() -> None:
    places = places_of(1)
    await take(places)
    first, second = asyncio.create_task(take(places)), asyncio.create_task(take(places))
    assert await waits(first)
    places.give_back(Lane.OFFERS)
    first.cancel()
    await second
    assert first.cancelled()
    assert (places.in_use, places.waiting) == (1, 0)


async def test_the_adaptive_limit_is_kept_and_its_growth_lets_others_in() -> None:
    limit = ConcurrencyLimit(2, 32)
    limit.restart()
    places = places_of(32, limit)
    await take(places)
    await take(places)
    third = asyncio.create_task(take(places))
    assert await waits(third)
    for _ in range(5):
        limit.answered(0.01, in_flight=2)
    places.hand_out()
    await third
