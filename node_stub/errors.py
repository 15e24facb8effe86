"""What the node's own rules refuse, as problems."""

from uuid import UUID

from aiohttp import hdrs

from gateway.wire.headers import IDEMPOTENCY_KEY
from gateway.wire.problem import ProblemError


class UnknownDocumentError(ProblemError):
    """There is no such offer set, session or component, or it is not for this caller to see."""

    slug = "not-found"
    title = "Not found"
    status = 404

    def __init__(self, what: str, uuid: UUID) -> None:
        super().__init__(f"There is no {what} {uuid} here.")


class NotOwnerError(ProblemError):
    """The session belongs to somebody else."""

    slug = "forbidden"
    title = "Not allowed"
    status = 403

    def __init__(self, uuid: UUID) -> None:
        super().__init__(f"Session {uuid} belongs to somebody else.")


class UpdateRefusedError(ProblemError):
    """The session stays as it is, and the client asked to be told by the status."""

    slug = "update-refused"
    title = "The update was refused"
    status = 409


class KeyReusedError(ProblemError):
    """The idempotency key was used before, for another request.

    Source: draft-ietf-httpapi-idempotency-key-header, section 2.7.
    """

    slug = "idempotency-key-reused"
    title = "The idempotency key was used for another request"
    status = 422

    def __init__(self) -> None:
        super().__init__(f"This {IDEMPOTENCY_KEY} came before with another body or path.")


class StoreUnavailableError(ProblemError):
    """The database cannot be used at the moment; nothing was changed."""

    slug = "store-unavailable"
    title = "Database unavailable"
    status = 503

    def __init__(self) -> None:
        super().__init__(
            "The node's database cannot be used at the moment; nothing was changed.",
            headers={hdrs.RETRY_AFTER: "2"},
        )


class BudgetSpentError(ProblemError):
    """Whoever asked has stopped waiting: an offer would only be a hold that nobody knows of."""

    slug = "budget-spent"
    title = "The time for this request is over"
    status = 503

    def __init__(self) -> None:
        super().__init__(
            "The time that the gateway had left is spent; nothing was held.",
            headers={hdrs.RETRY_AFTER: "1"},
        )
