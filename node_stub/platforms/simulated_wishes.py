"""What a request may wish of a simulated run, so that clients and tests can rehearse every end.

Wishes are environment variables of the executable, each with a limit:

==================== ==============================================================================
SIMULATE_PREPARE_S   seconds to get ready, 0 to 86400
SIMULATE_RUN_S       seconds to run, 0 to 86400
SIMULATE_STOP_S      seconds that it goes on when asked to stop, 0 to 86400; the platform kills it
                     after its grace
SIMULATE_EXIT_CODE   what the run exits with, 0 to 255
SIMULATE_END         how it ends: DATA, IMAGE or UNSCHEDULABLE instead of getting ready, LAUNCH when
                     it is to be launched, OOM, STORAGE, NODE or LOST when it has run
SIMULATE_LOG_BYTES   how much it writes to stdout, 0 to 1099511627776; the platform keeps the
                     beginning
==================== ==============================================================================

Pure. Any other variable that begins with ``SIMULATE_`` is refused, as is a value out of its limits.
"""

import math
from collections.abc import Callable
from typing import Final

import msgspec

from gateway.wire.documents import Document
from node_stub.appraisal import Remark
from node_stub.platforms.base import EndReason
from node_stub.reasons import Reason

WISH_PREFIX: Final = "SIMULATE_"
"""What the name of every wish begins with."""

LONGEST_S: Final = 86_400.0
"""The longest time to wish for: longer than any site lets a session run."""

MOST_LOG_BYTES: Final = 2**40
"""The longest log to wish for; whatever a platform keeps of it is far less."""

PREPARING_ENDS: Final = frozenset({EndReason.DATA, EndReason.IMAGE, EndReason.UNSCHEDULABLE})
"""Ends that come before a job is ready."""

RUNNING_ENDS: Final = frozenset({EndReason.OOM, EndReason.STORAGE, EndReason.NODE, EndReason.LOST})
"""Ends that come when a job has run."""

WISH_NAME: Final = Reason("urn:bad-value", "Unknown wish of a simulated run [${name}]")
WISH_VALUE: Final = Reason(
    "urn:bad-value", "A simulated run cannot be so [${name}][${value}], allowed are [${allowed}]"
)

_ENDS: Final = PREPARING_ENDS | RUNNING_ENDS | {EndReason.LAUNCH}


class Wishes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was wished of one run; None leaves it to the settings."""

    prepare_s: float | None = None
    run_s: float | None = None
    stop_s: float = 0.0
    exit_code: int | None = None
    end: EndReason | None = None
    log_bytes: int = 0


def read_wishes(executable: Document) -> tuple[Wishes, tuple[Remark, ...]]:
    """The wishes in the environment of an executable, and what is refused of them."""
    found: dict[str, object] = {}
    remarks: list[Remark] = []
    environment: Document = executable.get("environment") or {}
    for name, value in environment.items():
        if not name.startswith(WISH_PREFIX):
            continue
        place = "/executable/environment/" + name.replace("~", "~0").replace("/", "~1")
        if name not in _READERS:
            remarks.append(Remark(WISH_NAME, place, {"name": name}))
            continue
        member, read, allowed = _READERS[name]
        try:
            found[member] = read(value or "")
        except ValueError:
            values = {"name": name, "value": str(value), "allowed": allowed}
            remarks.append(Remark(WISH_VALUE, place, values))
    return msgspec.convert(found, Wishes), tuple(remarks)


def _seconds(value: str) -> float:
    seconds = float(value)
    if not math.isfinite(seconds) or not 0 <= seconds <= LONGEST_S:
        raise ValueError(value)
    return seconds


def _whole(value: str, most: int) -> int:
    number = int(value)
    if not 0 <= number <= most:
        raise ValueError(value)
    return number


def _end(value: str) -> EndReason:
    end = EndReason(value)
    if end not in _ENDS:
        raise ValueError(value)
    return end


_SECONDS_ALLOWED: Final = f"0 to {LONGEST_S:.0f}"

_READERS: Final[dict[str, tuple[str, Callable[[str], object], str]]] = {
    "SIMULATE_PREPARE_S": ("prepare_s", _seconds, _SECONDS_ALLOWED),
    "SIMULATE_RUN_S": ("run_s", _seconds, _SECONDS_ALLOWED),
    "SIMULATE_STOP_S": ("stop_s", _seconds, _SECONDS_ALLOWED),
    "SIMULATE_EXIT_CODE": ("exit_code", lambda value: _whole(value, 255), "0 to 255"),
    "SIMULATE_END": ("end", _end, ", ".join(sorted(_ENDS))),
    "SIMULATE_LOG_BYTES": (
        "log_bytes",
        lambda value: _whole(value, MOST_LOG_BYTES),
        f"0 to {MOST_LOG_BYTES}",
    ),
}
"""By variable: the member of the wishes, how its value is read, and what is allowed."""
