"""Schedules of sessions and components, as their documents show them."""

from datetime import UTC, datetime, timedelta

from gateway.wire.documents import Document
from gateway.wire.times import (
    Interval,
    format_duration,
    format_instant,
    format_start,
    parse_instant,
    parse_interval,
)
from node_stub.component_plan import Share
from node_stub.slots import Slot


class Schedules:
    """Writes the schedules of one offered session.

    Preparing and releasing are shown for the earliest start; how much later it may be is the length
    of the interval that stage available starts in.
    """

    def __init__(self, slot: Slot) -> None:
        self._start = datetime.fromtimestamp(slot.start_earliest, UTC)
        self._spread = timedelta(seconds=slot.start_latest - slot.start_earliest)
        self._run_s = slot.duration_s
        self._stages = slot.stages

    def of_session(self) -> Document:
        """The session's own: it is available once everything is."""
        stages = self._stages
        return self.of_component(Share(0, stages.prepare_s, 0, stages.release_s))

    def of_component(self, share: Share) -> Document:
        """The schedule of the component with this share of the session's stages."""
        preparing = timedelta(seconds=share.prepare_from_s - self._stages.prepare_s)
        available = timedelta(seconds=share.prepare_to_s - self._stages.prepare_s)
        releasing = timedelta(seconds=self._run_s + share.release_from_s)
        released = timedelta(seconds=self._run_s + share.release_to_s)
        first = self._start + available
        return {
            "preparing": {
                "start": format_instant(self._start + preparing),
                "duration": format_duration(available - preparing),
            },
            "available": {
                "start": format_start(Interval(first, first + self._spread)),
                "duration": format_duration(releasing - available),
            },
            "releasing": {
                "start": format_instant(self._start + releasing),
                "duration": format_duration(released - releasing),
            },
        }


def shift_to(schedule: Document, start: int) -> timedelta:
    """How far to move so that stage available begins at ``start``, in seconds since 1970."""
    begins = parse_interval(schedule["available"]["start"]).start
    return datetime.fromtimestamp(start, UTC) - begins


def shifted(schedule: Document, shift: timedelta) -> Document:
    """The schedule moved as a whole; available from one instant instead of within an interval."""
    preparing, available, releasing = (
        schedule[stage] for stage in ("preparing", "available", "releasing")
    )
    begin = parse_interval(available["start"]).start + shift

    def moved(stage: Document) -> Document:
        return {**stage, "start": format_instant(parse_instant(stage["start"]) + shift)}

    return {
        "preparing": moved(preparing),
        "available": {**available, "start": format_start(Interval(begin, begin))},
        "releasing": moved(releasing),
    }
