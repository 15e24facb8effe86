"""Why data could not be fetched, or a result not be sent."""

from gateway.wire.messages import fill
from node_stub.reasons import Reason


class StagingError(Exception):
    """Something that staging was to do and could not."""


class RefusedError(StagingError):
    """The site does not allow it; the same request is refused again."""

    def __init__(self, reason: Reason, **values: str) -> None:
        super().__init__(fill(reason.template, values))
        self.reason = reason
        self.values = values


class SourceError(StagingError):
    """A source does not have what is wanted; another may."""


class ChangedError(SourceError):
    """What was begun cannot be gone on with; from the beginning it may succeed."""


class MismatchError(SourceError):
    """All was fetched, and it is not what was stated.

    ``is_glued``: it came from several answers, so that one alone may be right.
    """

    def __init__(self, text: str, *, is_glued: bool) -> None:
        super().__init__(text)
        self.is_glued = is_glued


class TransientError(StagingError):
    """The source failed now; asking again may help, not before ``retry_after_s``."""

    def __init__(self, text: str, retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class StorageError(StagingError):
    """What is fetched has no room: in the storage asked for, or on the site's disk."""


class UnobtainableError(StagingError):
    """No source gave the file; the text has the reason of each."""
