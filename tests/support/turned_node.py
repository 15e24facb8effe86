"""A node whose machine's clock is set while it runs, by the seconds that a file says."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from node_stub.__main__ import main as serve
from node_stub.clock import SystemClock
from tests.support.crash_labels import hash_cheaply

SHIFT: Final = "CLOCK_SHIFT"
"""Environment: the file with the seconds that the clock is ahead, read whenever it is asked."""


def main(arguments: list[str] | None = None) -> int:
    """The node's own ``main``, on that machine."""
    shift = Path(os.environ[SHIFT])

    def now(_clock: SystemClock) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(shift.read_text()))

    SystemClock.now = now  # type: ignore[assignment,method-assign]  # in this process only
    hash_cheaply()
    return serve(arguments)
