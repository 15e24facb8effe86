"""Calls in threads whose files are not closed under them."""

import asyncio
import threading

import pytest

from node_stub.staging.threads import settled


async def test_who_is_cancelled_waits_until_the_call_has_ended() -> None:
    begun, may_end = threading.Event(), threading.Event()
    ended = []

    def call() -> None:
        begun.set()
        may_end.wait(5)
        ended.append(True)

    task = asyncio.create_task(settled(call))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    await asyncio.sleep(0.02)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ended == [True]


async def test_what_a_call_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await settled(lambda: 1 // 0)
