"""Server-sent events as they come in (WHATWG HTML, section 9.2.6), as far as brokers use them."""

from dataclasses import dataclass
from typing import Final

MAX_EVENT_BYTES: Final = 4 << 20
"""A broker's events have some 100 KiB; what is longer is none of them."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; ``id`` is the last that was given, "" before any."""

    name: str
    id: str
    data: str


class EventReader:
    """Puts events together from the pieces they come in.

    ``last_id`` is what a reader that comes back has to send as ``Last-Event-ID``: it is also told
    without an event.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._id = ""
        self._data: list[str] = []
        self.last_id = ""

    def feed(self, piece: bytes) -> list[Event]:
        """The events that are complete with this piece.

        Raises
        ------
        ValueError
            This is no stream of events.
        """
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            raise ValueError("a line without end")
        return [event for line in lines if (event := self._take(line.rstrip(b"\r"))) is not None]

    def _take(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._name = value
            case "id":
                self._id = value
            case "data":
                self._data.append(value)
            case _:
                pass  # a comment, or what no broker says
        return None

    def _dispatch(self) -> Event | None:
        self.last_id = self._id
        name, data = self._name or "message", "\n".join(self._data)
        has_data = bool(self._data)
        self._name, self._data = "", []
        return Event(name, self._id, data) if has_data else None
