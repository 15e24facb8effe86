"""What can go wrong between a client and its broker."""

from uuid import UUID

from gateway.wire.documents import Document
from gateway.wire.phases import SessionPhase


class BrokerError(Exception):
    """Any failure of a call to a broker."""


class BrokerUnavailableError(BrokerError):
    """No answer: the broker is away, or the way to it."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"The broker at {url} is not available ({reason}). "
            "Check that it runs and that the URL is right (--url or EXECBROKER_URL); try again."
        )
        self.url = url
        self.reason = reason


class UnreadableAnswerError(BrokerError):
    """Something answered, but not as a broker does."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"What answers at {url} does not speak the ExecutionBroker API ({reason}). "
            "Check the URL (--url or EXECBROKER_URL)."
        )
        self.url = url
        self.reason = reason


class BrokerProblemError(BrokerError):
    """The broker refused the call. ``problem`` is the body: RFC 9457, or whatever came instead.

    ``retry_after_s`` is when it wants to be asked again, if it says so.
    """

    def __init__(
        self, status: int, problem: Document, *, retry_after_s: float | None = None
    ) -> None:
        self.status = status
        self.problem = problem
        self.retry_after_s = retry_after_s
        self.title = str(problem.get("title") or problem.get("error") or f"HTTP status {status}")
        self.detail = str(problem.get("detail") or "")
        super().__init__(f"{self.title}: {self.detail}" if self.detail else self.title)


class UpdateRefusedError(BrokerError):
    """The broker answered an update, and the session is not in the phase that was asked for."""

    def __init__(self, wanted: SessionPhase, session: Document) -> None:
        self.wanted = wanted
        self.session = session
        reasons = "; ".join(messages_of(session)) or "the broker gives no reason"
        super().__init__(f"Not {wanted}: the session is {session.get('phase')} ({reasons})")


class WatchDeadlineError(BrokerError):
    """The session did not come to its end in time."""

    def __init__(self, uuid: UUID, phase: str, deadline_s: float) -> None:
        super().__init__(f"Session {uuid} is still {phase} after {deadline_s:g} s")
        self.uuid = uuid
        self.phase = phase


class ChecksumError(BrokerError):
    """What was fetched is not what the broker said it is."""

    def __init__(self, name: str, expected: str, found: str) -> None:
        super().__init__(
            f"{name} came damaged and was removed; try again."
            f" Its SHA-256 is {found}, not {expected}."
        )


class UnsafePathError(BrokerError):
    """The broker's path would lead out of the directory to save in."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path!r} does not stay within the output directory; it is not saved.")


class UnknownFileError(BrokerError):
    """The session has no such file."""

    def __init__(self, path: str) -> None:
        super().__init__(f"There is no {path!r} among what came out of the session.")


def messages_of(document: Document) -> list[str]:
    """The texts of ``meta.messages``; an unfilled template where there is no text."""
    meta = document.get("meta")
    messages = meta.get("messages") if isinstance(meta, dict) else None
    if not isinstance(messages, list):
        return []
    items = [item for item in messages if isinstance(item, dict)]
    return [str(item.get("message") or item.get("template") or item.get("kind")) for item in items]
