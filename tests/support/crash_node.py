"""A node that writes down its steps: around each commit, and each call of its platform."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any, Final

from node_stub.__main__ import main as serve
from node_stub.archive import Archive
from node_stub.platforms.simulated import SimulatedPlatform
from node_stub.store import Store
from node_stub.transaction import Transaction
from tests.support.crash_labels import Moment, Steps, hash_cheaply

_NODE: Final = f"{os.sep}node_stub{os.sep}"
_PASSED_THROUGH: Final = (
    f"{_NODE}store.py",
    f"{_NODE}archive.py",
    f"{_NODE}platforms{os.sep}simulated.py",
)

_CALLS: Final = {
    SimulatedPlatform: ("prepare", "launch", "stop", "release", "recover", "_forget"),
    Archive: ("keep",),
}
"""Each changes something outside of the node's own database; the last but for one its look only
does so when the job is gone."""


def _place(frame: FrameType | None) -> str:
    """The innermost function at work on the stack; of decisions also what was decided."""
    while frame is not None:
        code = frame.f_code
        if _NODE in code.co_filename and not code.co_filename.endswith(_PASSED_THROUGH):
            if code.co_qualname == "Reconciler._decide_and_save":
                return f"{code.co_qualname}[{_decided(frame)}]"
            return code.co_qualname
        frame = frame.f_back
    return "unknown"


def _decided(frame: FrameType) -> str:
    after = frame.f_locals.get("after")
    return "over" if after is None else f"{after.phase}, {after.standing.intent}"


def _watch_commits(steps: Steps) -> None:
    transaction = Store.transaction

    @asynccontextmanager
    async def watched(store: Store) -> AsyncIterator[Transaction]:
        async with transaction(store) as tx:
            yield tx
            steps.pass_by(Moment.BEFORE_COMMIT)
        steps.pass_by(Moment.COMMITTED)

    Store.transaction = watched  # type: ignore[assignment,method-assign]  # in this process only


def _watched_call(
    steps: Steps, name: str, call: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[Any]]:
    async def watched(*args: Any) -> Any:
        steps.pass_by(Moment.CALLING, f".{name}")
        result = await call(*args)
        steps.pass_by(Moment.RETURNED, f".{name}")
        return result

    return watched


def main(arguments: list[str] | None = None) -> int:
    """The node's own ``main``, watched."""
    steps = Steps(_place)
    _watch_commits(steps)
    for owner, names in _CALLS.items():
        for name in names:
            setattr(owner, name, _watched_call(steps, name, getattr(owner, name)))
    hash_cheaply()
    return serve(arguments)
