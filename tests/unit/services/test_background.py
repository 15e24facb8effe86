"""Work that nobody asks for goes on, and says what is a defect and what is only an outage."""

import asyncio
from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.errors import StoreUnavailableError
from gateway.services.background import BackgroundService, Duty
from gateway.services.tasks import SupervisedTasks, is_outage
from tests.support.waiting import until


def levels(logs: Sequence[MutableMapping[str, Any]]) -> list[tuple[str, str]]:
    return [(line["event"], line["log_level"]) for line in logs]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StoreUnavailableError(), True),
        (ExceptionGroup("several", [StoreUnavailableError(), StoreUnavailableError()]), True),
        (ExceptionGroup("nested", [ExceptionGroup("x", [StoreUnavailableError()])]), True),
        (ExceptionGroup("both", [StoreUnavailableError(), ValueError()]), False),
        (ValueError(), False),
    ],
)
def test_an_outage_is_one_where_nothing_else_failed(error: Exception, expected: bool) -> None:
    assert is_outage(error) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StoreUnavailableError(), ("background_duty_waits", "warning")),
        (
            ExceptionGroup("tasks", [StoreUnavailableError()]),
            ("background_duty_waits", "warning"),
        ),
        (ValueError("defect"), ("background_duty_failed", "error")),
    ],
)
async def test_a_duty_that_fails_is_done_again(error: Exception, expected: tuple[str, str]) -> None:
    tries = 0

    async def run() -> float:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0)
        duty.wake.set()  # the next turn at once
        raise error

    duty = Duty("tried", run, asyncio.Event())
    service = BackgroundService((duty,))
    with capture_logs() as logs:
        await service.start()
        await until(lambda: tries >= 3)
        await service.stop()
    assert set(levels(logs)) == {expected}


async def test_a_duty_that_was_woken_lets_others_go_first() -> None:
    done: list[str] = []

    async def run() -> float:
        done.append("duty")
        return 60.0

    duty = Duty("patient", run, asyncio.Event(), after_s=0.01)
    service = BackgroundService((duty,))
    await service.start()
    await until(lambda: done == ["duty"])
    duty.wake.set()
    for _ in range(20):  # turns of the event loop, as an answer takes them
        await asyncio.sleep(0)
    done.append("answer")
    await until(lambda: len(done) == 3)
    await service.stop()
    assert done == ["duty", "answer", "duty"]


async def test_only_a_defect_that_ends_a_task_is_logged_as_one() -> None:
    async def fail(error: Exception) -> None:
        raise error

    tasks = SupervisedTasks()
    with capture_logs() as logs:
        for error in (StoreUnavailableError(), ValueError("defect")):
            await asyncio.wait([tasks.spawn(fail(error), name="one")])
        await until(lambda: len(logs) == 2)
    assert levels(logs) == [
        ("background_task_cut_short", "warning"),
        ("background_task_failed", "error"),
    ]
    await tasks.aclose()
