"""The owner of tasks that outlive the request which started them."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from gateway.errors import StoreUnavailableError

_log = structlog.stdlib.get_logger(__name__)


def is_outage(error: BaseException) -> bool:
    """Whether nothing failed but the database, which is no defect and is logged where it shows."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(StoreUnavailableError)[1] is None
    return isinstance(error, StoreUnavailableError)


class SupervisedTasks:
    """Keeps its tasks alive, logs the defect that ends one, and stops them all when closed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Start ``work``.

        Raises
        ------
        RuntimeError
            The owner was closed; ``work`` was not started.
        """
        if self._is_closed:
            work.close()
            message = "the owner of background tasks is closed"
            raise RuntimeError(message)
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def aclose(self) -> None:
        """Cancel what still runs and wait until it has ended. Idempotent."""
        self._is_closed = True
        while self._tasks:
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        if is_outage(error):
            _log.warning("background_task_cut_short", task=task.get_name(), why=str(error))
        else:
            _log.error("background_task_failed", task=task.get_name(), exc_info=error)
