"""An event loop that does nothing by itself: its time stands still, and it runs when it is told.

What runs belongs to somebody (``OWNER``), and can be taken out of the loop as a power cut would:
no line of it is executed any more.
"""

import asyncio
import heapq
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from typing import Any, Final, TypeVarTuple

OWNER: Final[ContextVar["Owner | None"]] = ContextVar("owner", default=None)
"""Whose coroutine, callback or timer this is; what they start inherits it."""

MAX_CALLBACKS: Final = 10_000
"""So many in one step are a loop that never waits for anything: no step here needs a hundred."""

_CLOSINGS: Final = 4
"""A coroutine that waits in a clean-up of its own needs closing once more for each of those."""


Ts = TypeVarTuple("Ts")


class Owner:
    """Somebody whose tasks can be ended all at once, without running any of them."""

    __slots__ = ("is_dead", "name", "tasks")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.tasks: list[asyncio.Task[Any]] = []


class StuckLoopError(Exception):
    """Callbacks beget callbacks for ever."""


class SimLoop(asyncio.AbstractEventLoop):
    """What asyncio's tasks, locks, groups and timeouts need of a loop, and nothing else.

    ``failures`` collects what callbacks raised and what nobody looked at.
    """

    def __init__(self, start_s: float) -> None:
        self.now_s = start_s
        self.failures: list[str] = []
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._count = 0
        self._children: Counter[str] = Counter()

    # -- what asyncio calls ---------------------------------------------------------------------

    def time(self) -> float:
        return self.now_s

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Any,
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[Any]:
        """A task; one that a task starts is named after it, the same in every order of events."""
        parent = asyncio.current_task(self)
        if parent is not None and context is None:
            name = f"{parent.get_name()}.{name}" if name else parent.get_name()
            self._children[name] += 1
            name = f"{name}.{self._children[name]}"
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        owner = OWNER.get() if context is None else context.get(OWNER)
        if owner is not None:
            owner.tasks.append(task)
        return task

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now_s + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing: it is passed over when its time comes."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    # -- what the model calls -------------------------------------------------------------------

    def start(
        self, work: Coroutine[Any, Any, Any], *, name: str, owner: Owner | None
    ) -> asyncio.Task[Any]:
        """Begin ``work`` in the name of ``owner``; it runs with the next ``run``."""
        context = Context()
        context.run(OWNER.set, owner)
        return self.create_task(work, name=name, context=context)

    def run(self) -> None:
        """Run until everybody waits for something from outside.

        Raises
        ------
        StuckLoopError
            That never comes to be.
        """
        for _ in range(MAX_CALLBACKS):
            if not self._ready:
                return
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()
        raise StuckLoopError

    def next_timer(self) -> float | None:
        """When the next timer goes off, if one is set."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def advance(self, until_s: float) -> None:
        """Let the time pass, with every timer on the way going off when it is due."""
        while (due := self.next_timer()) is not None and due <= until_s:
            self.now_s = max(self.now_s, due)
            while (again := self.next_timer()) is not None and again <= self.now_s:
                self._ready.append(heapq.heappop(self._timers)[2])
            self.run()
        self.now_s = max(self.now_s, until_s)

    def kill(self, owner: Owner) -> None:
        """End everything of ``owner`` as ``kill -9`` does; whatever still runs, runs to no effect.

        Python ends a coroutine only by running its clean-up: what it may reach refuses the dead.
        """
        owner.is_dead = True
        context = Context()
        context.run(OWNER.set, owner)
        while owner.tasks:  # a clean-up may start others
            task = owner.tasks.pop()
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                context.run(_close, task.get_coro())
        self._ready = deque(h for h in self._ready if _owner_of(h) is not owner)
        self._timers = [entry for entry in self._timers if _owner_of(entry[2]) is not owner]
        heapq.heapify(self._timers)


def _owner_of(handle: asyncio.Handle) -> Owner | None:
    context: Context = handle._context  # type: ignore[attr-defined]
    return context.get(OWNER)


def _close(work: Any) -> None:
    for _ in range(_CLOSINGS):
        try:
            work.close()
        except RuntimeError:
            continue  # it waits in its clean-up, and is thrown out of there the next time
        except BaseException:  # noqa: BLE001  # whatever the clean-up met: the process is gone
            return
        else:
            return
