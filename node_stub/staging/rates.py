"""How fast each host gave data before, which is what estimates are made of."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from node_stub.durable import write_whole

MAX_HOSTS: Final = 500
"""Hosts that are remembered; of more, those heard of longest ago are forgotten."""

MIN_BYTES: Final = 1 << 20
"""Less than this measures how soon a server answers, not how fast it sends."""

WEIGHT: Final = 0.3
"""How much the newest measurement counts: some ten are remembered."""

REQUEST_S: Final = 1.0
"""What one file takes beside its bytes: connecting, an answer, a checksum."""


class Rates:
    """Bytes per second by host, kept in a file. Give ``save`` a thread; all else is memory."""

    def __init__(self, path: Path, default_bytes_per_s: float) -> None:
        self._path = path
        self._default = default_bytes_per_s
        self._rates: dict[str, float] = {}
        self._is_saved = True

    def load(self) -> None:
        """Read what was measured before; a file that cannot be read is no measurement."""
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=dict[str, float])
        except (OSError, msgspec.MsgspecError):
            return
        self._rates = {host: rate for host, rate in found.items() if rate > 0}

    def note(self, host: str, size: int, took_s: float) -> None:
        """Remember that a host gave so many bytes in so many seconds."""
        if size < MIN_BYTES or took_s <= 0:
            return
        measured = size / took_s
        before = self._rates.pop(host, None)  # put back at the end: the newest
        rate = measured if before is None else before + WEIGHT * (measured - before)
        self._rates[host] = rate
        self._is_saved = False
        while len(self._rates) > MAX_HOSTS:
            del self._rates[next(iter(self._rates))]

    def bytes_per_s(self, host: str) -> float:
        """How fast a host is likely to be."""
        return self._rates.get(host, self._default)

    def seconds(self, host: str, size: int) -> float:
        """How long a file of this size is likely to take."""
        return REQUEST_S + size / self.bytes_per_s(host)

    def pending(self) -> Callable[[], None] | None:
        """What saves the measurements, to be called in a thread; None if they are saved."""
        if self._is_saved:
            return None
        self._is_saved = True
        content = msgspec.json.encode(self._rates)
        return lambda: write_whole(self._path, content)
