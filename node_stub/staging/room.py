"""How much may still be written to the storage that a session asked for."""

from typing import Final

from node_stub.staging.errors import StorageError

BYTES_PER_GIB: Final = 1 << 30
"""Storage and limits are in GiB on the wire and in settings."""


class Room:
    """One storage resource while data is put on it. Bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0

    def change(self, by: int) -> None:
        """Take so much more, or give it back.

        Raises
        ------
        StorageError
            There is not so much left; nothing is taken.
        """
        if by > 0 and self._used + by > self.limit:
            raise StorageError(f"the data does not fit its storage of {self.limit} bytes")
        self._used += by

    def lease(self) -> "Lease":
        """The part that one file takes."""
        return Lease(self)


class Lease:
    """What one file takes of a `Room`."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._bytes = 0

    def resize(self, size: int) -> None:
        """The file is now so large, or is going to be.

        Raises
        ------
        StorageError
            There is not so much left; nothing changes.
        """
        self._room.change(size - self._bytes)
        self._bytes = size
