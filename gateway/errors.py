"""What the gateway refuses, one class a cause. Each becomes a problem body at the edge."""

from collections.abc import Sequence
from typing import Any, Self
from uuid import UUID

from gateway.wire.problem import ProblemError


class UnknownOfferSetError(ProblemError):
    """No offer set of that UUID, or not for this caller."""

    slug = "unknown-offerset"
    title = "Offer set not found"
    status = 404

    def __init__(self, uuid: UUID) -> None:
        super().__init__(f"There is no offer set {uuid} here, or you may not read it.")


class UnknownSessionError(ProblemError):
    """No session of that UUID, or not for this caller."""

    slug = "unknown-session"
    title = "Session not found"
    status = 404

    def __init__(self, uuid: UUID) -> None:
        super().__init__(f"There is no session {uuid} here, or you may not read it.")


class UnknownComponentError(ProblemError):
    """No component of that UUID, or not for this caller."""

    slug = "unknown-component"
    title = "Component not found"
    status = 404

    def __init__(self, uuid: UUID) -> None:
        super().__init__(f"There is no component {uuid} here, or you may not read it.")


class NotOwnerError(ProblemError):
    """Somebody else's session."""

    slug = "not-owner"
    title = "Not yours to change"
    status = 403

    def __init__(self, uuid: UUID) -> None:
        super().__init__(f"Session {uuid} belongs to somebody else.")


class UnknownNodeError(ProblemError):
    """The request names nodes that are not registered."""

    slug = "unknown-node"
    title = "Unknown node"
    status = 400

    def __init__(self, unknown: Sequence[str], registered: Sequence[str]) -> None:
        super().__init__(
            f"Not registered here: {', '.join(unknown)}. Registered: {', '.join(registered)}."
        )


class UnknownPolicyError(ProblemError):
    """The request names a ranking policy that does not exist."""

    slug = "unknown-policy"
    title = "Unknown ranking policy"
    status = 400

    def __init__(self, policy: str, known: Sequence[str]) -> None:
        super().__init__(f"There is no policy {policy!r}; choose one of {', '.join(known)}.")


class InvalidPolicyError(ProblemError):
    """Weights that make no policy."""

    slug = "invalid-policy"
    title = "Not a ranking policy"
    status = 422

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(f"These weights make no policy: {'; '.join(faults)}.")


class NotReplayableError(ProblemError):
    """The inputs of the ranking were saved by another version, which counted differently."""

    slug = "ranking-not-replayable"
    title = "Ranking cannot be replayed"
    status = 409

    def __init__(self, uuid: UUID) -> None:
        super().__init__(
            f"Offer set {uuid} was ranked by another version of this gateway; "
            "what that would decide can no longer be told."
        )


class NoNodeAnsweredError(ProblemError):
    """Not one node could be reached in time; a NO would be a lie."""

    slug = "no-node-answered"
    title = "No node answered"
    status = 503

    def __init__(self, coverage: Sequence[dict[str, Any]], retry_after_s: int) -> None:
        super().__init__(
            f"None of the {len(coverage)} nodes answered in time; nothing is known. Try again.",
            headers={"Retry-After": str(retry_after_s)},
            extensions={"coverage": list(coverage)},
        )


class RequiredNodeSilentError(ProblemError):
    """A node that the client requires did not answer in time."""

    slug = "required-node-silent"
    title = "A required node did not answer"
    status = 503

    def __init__(
        self, silent: Sequence[str], coverage: Sequence[dict[str, Any]], retry_after_s: int
    ) -> None:
        super().__init__(
            f"You require an answer of {', '.join(silent)}, and none came in time. "
            "The offers of the others were let go. Try again, wait longer, or require less.",
            headers={"Retry-After": str(retry_after_s)},
            extensions={"coverage": list(coverage)},
        )


class PreconditionFailedError(ProblemError):
    """What is to be changed is not what the client has seen (RFC 9110 §13.1.1)."""

    slug = "precondition-failed"
    title = "Changed meanwhile"
    status = 412

    def __init__(self) -> None:
        super().__init__(
            "It is not what If-Match says: it has changed since you read it. Read it again, and "
            "make your change to what it is now."
        )


class KeyReusedError(ProblemError):
    """An idempotency key came back with another request."""

    slug = "idempotency-key-reused"
    title = "Idempotency-Key belongs to another request"
    status = 422

    def __init__(self, key: str) -> None:
        super().__init__(f"Idempotency-Key {key!r} was used with another body; choose a new key.")


class UpdateRefusedError(ProblemError):
    """An update that cannot be made now. Lenient callers get the unchanged session and a message.

    ``code`` is the URN of the message; ``alternatives`` are the next best live offers.
    ``session`` is what it is about where that is not the one the client named, ``attempts`` are
    messages about what was tried.
    """

    slug = "update-refused"
    title = "Update refused"
    status = 409

    def __init__(
        self,
        detail: str,
        *,
        code: str = "urn:update-refused",
        alternatives: Sequence[UUID] = (),
    ) -> None:
        extensions = {"alternatives": [str(u) for u in alternatives]} if alternatives else {}
        super().__init__(detail, extensions=extensions)
        self.code = code
        self.alternatives = tuple(alternatives)
        self.session: UUID | None = None
        self.attempts: tuple[dict[str, Any], ...] = ()

    def about(self, session: UUID, attempts: Sequence[dict[str, Any]]) -> Self:
        """The same refusal, with the session it came to and what was tried before."""
        self.session = session
        self.attempts = tuple(attempts)
        self.extensions |= {"session": str(session), "attempts": list(attempts)}
        return self


class NotPermittedError(ProblemError):
    """The rules do not let the caller ask this; ``reasons`` are documents of reasons."""

    slug = "not-permitted"
    title = "Not permitted"
    status = 403

    def __init__(self, reasons: Sequence[dict[str, Any]]) -> None:
        super().__init__(_texts(reasons), extensions={"reasons": list(reasons)})


class OfferQuotaError(ProblemError):
    """The caller, or a group it is in, holds as many live offers as it may.

    No 429: nothing was asked too often, and waiting alone helps only once offers expire, which is
    ``retry_after_s``.
    """

    slug = "offer-quota"
    title = "Too many live offers"
    status = 409

    def __init__(self, reason: dict[str, Any], retry_after_s: int | None) -> None:
        headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        super().__init__(_texts([reason]), headers=headers, extensions={"reasons": [reason]})


class SessionQuotaError(UpdateRefusedError):
    """The caller, or a group it is in, has as many live sessions as it may."""

    slug = "session-quota"
    title = "Too many live sessions"

    def __init__(self, reason: dict[str, Any]) -> None:
        super().__init__(_texts([reason]), code="urn:quota-sessions")
        self.extensions["reasons"] = [reason]


class NodeRefusedAcceptError(UpdateRefusedError):
    """The node did not accept its own offer."""

    slug = "node-refused"
    title = "The node withdrew its offer"

    def __init__(self, node: str, why: str, alternatives: Sequence[UUID]) -> None:
        rest = (
            f" Still on offer: {', '.join(str(u) for u in alternatives)}."
            if alternatives
            else " Nothing else of this offer set is still on offer: ask again."
        )
        super().__init__(
            f"Node {node} did not accept: {why}.{rest}",
            code="urn:node-refused",
            alternatives=alternatives,
        )


class AcceptPendingError(UpdateRefusedError):
    """The node has not confirmed the acceptance; it is asked until it says what became of it.

    ``may_have_acted`` is false where the acceptance cannot have reached it so far.
    """

    slug = "accept-pending"
    title = "Acceptance pending"
    status = 503

    def __init__(self, node: str, *, may_have_acted: bool = True) -> None:
        super().__init__(
            f"Node {node} has not confirmed the acceptance yet; it is asked until it says what "
            "became of it. Read the session to see.",
            code="urn:accept-pending",
        )
        self.headers["Retry-After"] = "1"
        self.may_have_acted = may_have_acted


class AnsweredElsewhereError(ProblemError):
    """Another gateway took over the request of this key and has answered it."""

    slug = "answered-elsewhere"
    title = "Answered by another gateway"
    status = 503

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Another gateway has answered the request with Idempotency-Key {key!r} meanwhile. "
            "Send it again to get that answer.",
            headers={"Retry-After": "1"},
        )


class StoreUnavailableError(ProblemError):
    """The database cannot be used at the moment; nothing was changed.

    ``is_unsure``: it was lost while it confirmed a change, which may or may not have been made.
    """

    slug = "store-unavailable"
    title = "Database unavailable"
    status = 503

    def __init__(self, *, is_unsure: bool = False) -> None:
        super().__init__(
            "The gateway's database was lost before it confirmed the change, which may have been "
            "made. Look how things stand before you try again."
            if is_unsure
            else "The gateway's database does not answer; nothing was changed. Try again shortly.",
            headers={"Retry-After": "2"},
        )


def _texts(reasons: Sequence[dict[str, Any]]) -> str:
    return " ".join(reason["text"] for reason in reasons)


class UnknownEventError(ProblemError):
    """A reader of events comes back to a place that no event has had."""

    slug = "unknown-event"
    title = "No such event"
    status = 400

    def __init__(self, position: int) -> None:
        super().__init__(
            f"There has been no event {position} here, perhaps because the database was restored "
            "from a backup. Begin anew, without Last-Event-ID and after."
        )


class NotYourEventsError(ProblemError):
    """Somebody asks for the events of somebody else."""

    slug = "not-your-events"
    title = "Not yours to read"
    status = 403

    def __init__(self) -> None:
        super().__init__("Only the administrator may name an owner; leave it out to read your own.")


class UnknownWebhookError(ProblemError):
    """No webhook of that UUID, or not of this caller."""

    slug = "unknown-webhook"
    title = "Webhook not found"
    status = 404

    def __init__(self, uuid: UUID) -> None:
        super().__init__(f"You have no webhook {uuid} here.")


class WebhookRefusedError(ProblemError):
    """A webhook that this gateway may not, or cannot, call."""

    slug = "webhook-refused"
    title = "The webhook is not allowed"
    status = 403


class TooManyWebhooksError(ProblemError):
    """One owner has as many webhooks as it may have."""

    slug = "too-many-webhooks"
    title = "Too many webhooks"
    status = 409

    def __init__(self, at_most: int) -> None:
        super().__init__(f"You have {at_most} webhooks and may have no more; delete one first.")
