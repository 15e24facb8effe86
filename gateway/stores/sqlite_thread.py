"""A connection to SQLite in a thread of its own, which takes one piece of work after another.

To hand work over and to be told its result costs some 30 µs, as much as a small statement: so a
piece of work is a list of steps, and all of it is handed over at once.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, TypeAlias

Step: TypeAlias = Callable[[sqlite3.Connection], Any]
"""Something done with the connection, in its thread."""


class SqliteThread:
    """Does what it is given in that order. ``close`` it; a thread that was not ends the program.

    Parameters
    ----------
    connect
        Opens the connection, in the thread.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], name: str) -> None:
        self._connect: Final = connect
        self._work: SimpleQueue[tuple[Sequence[Step], asyncio.Future[Any] | None] | None] = (
            SimpleQueue()
        )
        self._thread = Thread(target=self._serve, name=name, daemon=True)
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Start the thread and connect.

        Raises
        ------
        sqlite3.Error
            The file cannot be opened.
        """
        self._thread.start()
        try:
            await self.run(lambda connection: connection)
        except BaseException:
            self._work.put(None)
            raise

    async def run(self, *steps: Step) -> Any:
        """The result of the last step. Who is cancelled meanwhile stops it after the step at hand.

        Raises
        ------
        sqlite3.Error
            From the first step that fails; no further one is taken.
        """
        future = asyncio.get_running_loop().create_future()
        self._work.put((steps, future))
        return await future

    def post(self, *steps: Step) -> None:
        """Have the steps taken when their turn comes, and wait for nothing."""
        self._work.put((steps, None))

    async def close(self) -> None:
        """Finish what was given so far, close the connection and end the thread."""
        if not self._thread.is_alive():
            return
        await self.run(lambda connection: connection.close())
        self._work.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (given := self._work.get()) is not None:
            steps, future = given
            try:
                result = self._take(steps, future)
            except BaseException as error:  # noqa: BLE001  # who waits gets it, whatever it is
                _tell(future, None, error)
            else:
                _tell(future, result, None)

    def _take(self, steps: Sequence[Step], future: asyncio.Future[Any] | None) -> Any:
        if self._connection is None:
            self._connection = self._connect()
        result = None
        for step in steps:
            if future is not None and future.cancelled():
                return None
            result = step(self._connection)
        return result


def _tell(future: asyncio.Future[Any] | None, result: object, error: BaseException | None) -> None:
    if future is None or future.get_loop().is_closed():
        return

    def settle() -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    future.get_loop().call_soon_threadsafe(settle)
