"""Why what came out of a session cannot be had through this gateway, one class a cause.

What the node said of it goes along as ``upstream``.
"""

from uuid import UUID

from gateway.wire.documents import Document
from gateway.wire.problem import PROBLEM_BASE, ProblemError


class UnknownOutputError(ProblemError):
    """The session has no such log or file, or its node gives none at all."""

    slug = "unknown-output"
    title = "Not found"
    status = 404

    def __init__(self, uuid: UUID, node: str, problem: Document | None) -> None:
        said = None if problem is None else problem.get("type")
        detail = (
            f"Node {node} has nothing of this name of session {uuid}."
            if said == PROBLEM_BASE + self.slug
            else f"Node {node} does not know session {uuid},"
            " or does not give out what came out of sessions."
        )
        super().__init__(detail, extensions=upstream(problem))


class OutputsGoneError(ProblemError):
    """The node does not keep it any more."""

    slug = "outputs-gone"
    title = "Not kept any more"
    status = 410

    def __init__(self, uuid: UUID, node: str, problem: Document | None) -> None:
        super().__init__(
            f"Nothing that came out of session {uuid} is kept at node {node} any more.",
            extensions=upstream(problem),
        )


class NodeAwayError(ProblemError):
    """The node cannot be reached, or answers what cannot be used."""

    slug = "node-unavailable"
    title = "The node cannot give it now"
    status = 502

    def __init__(self, node: str, why: str, problem: Document | None = None) -> None:
        super().__init__(f"Node {node}: {why}.", extensions=upstream(problem))


class NodeSlowError(ProblemError):
    """The node does not answer in time."""

    slug = "node-timeout"
    title = "The node does not answer in time"
    status = 504

    def __init__(self, node: str, why: str) -> None:
        super().__init__(f"Node {node}: {why}.")


class NodeBusyError(ProblemError):
    """The node, or the way to it, has too many readers; later there is room."""

    slug = "node-busy"
    title = "Too many readers"
    status = 503

    def __init__(self, node: str, problem: Document | None = None) -> None:
        super().__init__(
            f"Too much is being read from node {node} already.",
            headers={"Retry-After": "5"},
            extensions=upstream(problem),
        )


def upstream(problem: Document | None) -> Document:
    """The extension that carries what the node said."""
    return {} if problem is None else {"upstream": problem}
