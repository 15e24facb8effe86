"""Problems: the body of a failed HTTP request, and the errors that carry one.

Source: RFC 9457.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

PROBLEM_BASE: Final = "https://execbroker.dev/problems/"
"""What every problem ``type`` begins with; the slug follows."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a document: where (RFC 6901; ``""`` is the whole) and what."""

    pointer: str
    detail: str


class ProblemError(Exception):
    """A failure that the client is told of. One subclass per cause.

    Subclasses set ``slug``, ``title`` and ``status`` and make ``detail`` from typed arguments.
    """

    slug: ClassVar[str]
    title: ClassVar[str]
    status: ClassVar[int]

    def __init__(
        self,
        detail: str,
        *,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = tuple(faults)
        self.headers = dict(headers or {})
        self.extensions = dict(extensions or {})

    def to_document(self, instance: str) -> dict[str, Any]:
        """The problem body; ``instance`` is the request id."""
        document: dict[str, Any] = {
            "type": PROBLEM_BASE + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
        }
        if self.faults:
            document["errors"] = [{"pointer": f.pointer, "detail": f.detail} for f in self.faults]
        return document | self.extensions
