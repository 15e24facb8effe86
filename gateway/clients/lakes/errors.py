"""Every way in which a data lake, or the catalogue of sites, can fail to answer."""

from typing import Final

from gateway.domain.reasons import Reason, ReasonCode, reason

BUSY_STATUSES: Final = frozenset({429, 503})
"""The server has used up its pool of database connections, or something in front of it counts."""

MAX_CLASS: Final = 80
"""Characters of what a lake calls its failure that are kept."""


class LakeError(Exception):
    """There is no usable answer. The message may be logged; it holds no locations."""

    def to_reason(self, lake: str) -> Reason:
        """The reason for those who asked; ``lake`` is the name that the settings give it."""
        raise NotImplementedError


class LakeUnreachableError(LakeError):
    """No connection: refused, name unknown, no route, not trusted, or too slow to come about."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"cannot be reached: {detail}")

    def to_reason(self, lake: str) -> Reason:
        """The reason for those who asked."""
        return reason(ReasonCode.LAKE_UNAVAILABLE, lake=lake)


class LakeTimeoutError(LakeError):
    """The time was over, or nothing was said for too long, before the answer was whole."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no whole answer within {seconds:.1f} s")
        self.seconds = seconds

    def to_reason(self, lake: str) -> Reason:
        """The reason for those who asked."""
        return reason(ReasonCode.LAKE_TIMEOUT, lake=lake, seconds=round(self.seconds, 1))


class LakeInvalidAnswerError(LakeError):
    """The answer is cut, too large, not JSON, or not what was asked for: none of it is used."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"unusable answer: {detail}")
        self.detail = detail

    def to_reason(self, lake: str) -> Reason:
        """The reason for those who asked."""
        return reason(ReasonCode.LAKE_INVALID_ANSWER, lake=lake, detail=self.detail)


class LakeStatusError(LakeError):
    """The lake answered with a failure. ``error_class`` is what it calls it, if it does."""

    def __init__(self, status: int, error_class: str = "") -> None:
        super().__init__(f"HTTP status {status} {error_class[:MAX_CLASS]}".rstrip())
        self.status = status

    def to_reason(self, lake: str) -> Reason:
        """The reason for those who asked."""
        return reason(ReasonCode.LAKE_FAILED, lake=lake, status=self.status)


class LakeBusyError(LakeStatusError):
    """The lake is overloaded and may answer later."""


class LakeRequestError(LakeStatusError):
    """The lake is well and refuses this very question: asking again changes nothing."""


class LakeCredentialsError(LakeError):
    """The lake, or who gives out tokens for it, does not accept this gateway."""

    def __init__(self) -> None:
        super().__init__("refuses the credentials")

    def to_reason(self, lake: str) -> Reason:
        """The reason for those who asked."""
        return reason(ReasonCode.LAKE_REFUSED_CREDENTIALS, lake=lake)
