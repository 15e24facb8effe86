"""A gateway that writes down its steps: around each commit, and each exchange with a node."""

import os
from collections.abc import Mapping
from types import FrameType
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]  # it has no py.typed

from gateway.__main__ import main as serve
from gateway.clients.exchange import NodeError, Progress, Reply, Timeouts
from gateway.clients.lean.transport import LeanTransport
from gateway.stores.sqlite import SqliteTransaction
from tests.support.crash_labels import Moment, Steps, hash_cheaply

_GATEWAY: Final = f"{os.sep}gateway{os.sep}"
_SERVICES: Final = f"{_GATEWAY}services{os.sep}"
_PASSED_THROUGH: Final = ("stores/sqlite.py", "stores/postgres.py", "clients/broker.py")


def _place(frame: FrameType | None) -> str:
    """The innermost function of a service on the stack; where there is none, of the gateway."""
    outside = "unknown"
    while frame is not None:
        code = frame.f_code
        if _SERVICES in code.co_filename:
            return code.co_qualname
        if outside == "unknown" and _is_caller(code.co_filename):
            outside = code.co_qualname
        frame = frame.f_back
    return outside


def _is_caller(filename: str) -> bool:
    return _GATEWAY in filename and not filename.endswith(_PASSED_THROUGH)


def _watch_sqlite(steps: Steps) -> None:
    commit = SqliteTransaction.commit

    async def watched(tx: SqliteTransaction) -> None:
        if not (tx.has_begun or tx._waiting):
            return  # nothing was done, and nothing is sent
        steps.pass_by(Moment.BEFORE_COMMIT)
        await commit(tx)
        steps.pass_by(Moment.COMMITTED)

    SqliteTransaction.commit = watched  # type: ignore[assignment,method-assign]  # in this process only


def _watch_postgres(steps: Steps) -> None:
    execute = asyncpg.Connection.execute
    reading: set[int] = set()

    async def watched(connection: Any, query: str, *args: Any, **given: Any) -> str:
        if query.startswith("BEGIN"):
            (reading.add if "READ ONLY" in query else reading.discard)(id(connection))
        is_step = query == "COMMIT" and id(connection) not in reading
        if is_step:
            steps.pass_by(Moment.BEFORE_COMMIT)
        status: str = await execute(connection, query, *args, **given)
        if is_step:
            steps.pass_by(Moment.COMMITTED)
        return status

    asyncpg.Connection.execute = watched


def _watch_exchanges(steps: Steps) -> None:
    exchange = LeanTransport.exchange

    async def watched(
        transport: LeanTransport,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        timeouts: Timeouts,
        progress: Progress | None = None,
    ) -> Reply:
        steps.pass_by(Moment.SENDING)
        try:
            reply = await exchange(
                transport, method, url, headers, body, timeouts=timeouts, progress=progress
            )
        except NodeError:
            steps.pass_by(Moment.UNANSWERED)
            raise
        steps.pass_by(Moment.ANSWERED)
        return reply

    LeanTransport.exchange = watched  # type: ignore[assignment,method-assign]  # in this process only


def main(arguments: list[str] | None = None) -> int:
    """The gateway's own ``main``, watched."""
    steps = Steps(_place)
    _watch_sqlite(steps)
    _watch_postgres(steps)
    _watch_exchanges(steps)
    hash_cheaply()
    return serve(arguments)
