"""What makes two schedules one: the same events, each with the same events before it.

Events at different nodes, or in gateways that look at nothing of each other's, may change places
without anybody ever knowing (Mazurkiewicz's traces). The key of a trace does not see their order.
"""

from typing import Final

STORE: Final = "store"
"""What all gateways share."""

_MASK: Final = (1 << 64) - 1


class Trace:
    """The partial order of the events so far, as one number: equal ones lead to equal states.

    Between ``begin`` and ``end`` everything is named that the event changes or looks at.
    """

    __slots__ = ("_base", "_causes", "_label", "_read", "_reads", "_writes", "_written", "key")

    def __init__(self) -> None:
        self.key = 0
        self._base = 0
        self._written: dict[str, int] = {}
        self._read: dict[str, int] = {}
        self._label = ""
        self._causes: set[int] = set()
        self._writes: set[str] = set()
        self._reads: set[str] = set()

    def begin(self, label: str) -> None:
        """An event takes place."""
        self._label = label
        self._causes = set()
        self._writes = set()
        self._reads = set()

    def changes(self, what: str) -> None:
        """It comes after all that looked at ``what``, or changed it."""
        self._writes.add(what)

    def looks_at(self, what: str) -> None:
        """It comes after all that changed ``what``."""
        self._reads.add(what)

    def follows(self, event: int) -> None:
        """It comes after that event."""
        self._causes.add(event)

    @property
    def changed(self) -> set[str]:
        """What the present event changes."""
        return self._writes

    def end(self, *, is_barrier: bool = False) -> int:
        """The event is over; its number. All others come before or after a barrier."""
        if is_barrier:
            event = hash((self._label, self.key))
            self._base = event
            self._written.clear()
            self._read.clear()
        else:
            event = self._ordered()
        self.key = (self.key + event) & _MASK
        return event

    def _ordered(self) -> int:
        before = self._causes
        for what in self._writes:
            before.add(self._written.get(what, self._base))
            before.add(self._read.get(what, 0))
        for what in self._reads:
            before.add(self._written.get(what, self._base))
        event = hash((self._label, tuple(sorted(before))))
        for what in self._writes:
            self._written[what] = event
            self._read[what] = 0
        for what in self._reads - self._writes:
            self._read[what] = self._read.get(what, 0) ^ event
        return event
