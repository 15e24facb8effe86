"""Memory to receive into, shared by all connections of an event loop."""

from typing import Final

_SIZE_BYTES: Final = 64 << 10
"""Several answers. asyncio itself asks for 256 KiB anew at each read, which the C library maps and
unmaps each time: some 20 us."""


class ReceiveBuffer:
    """Is filled by the event loop for one connection, and emptied by it, before the next.

    That is how event loops do it, and it is checked: what one received never reaches another.
    """

    __slots__ = ("_lent_to", "_memory")

    def __init__(self) -> None:
        self._memory = memoryview(bytearray(_SIZE_BYTES))
        self._lent_to: object = None

    def lend(self, to: object) -> memoryview:
        """All of it, to be filled."""
        self._lent_to = to
        return self._memory

    def take(self, by: object, size_bytes: int) -> bytes | None:
        """What was received first in it, or None if it was lent to somebody else meanwhile."""
        if self._lent_to is not by:
            return None
        self._lent_to = None
        return bytes(self._memory[:size_bytes])
