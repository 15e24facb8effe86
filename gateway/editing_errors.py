"""What is refused around drafts, asking anew and lists, one class a cause."""

from collections.abc import Sequence
from uuid import UUID

from gateway.wire.problem import Fault, ProblemError


class UnknownDraftError(ProblemError):
    """No draft of that UUID, or not this caller's."""

    slug = "unknown-draft"
    title = "Draft not found"
    status = 404

    def __init__(self, uuid: UUID) -> None:
        super().__init__(f"There is no draft {uuid} here, or it is not yours.")


class TooManyDraftsError(ProblemError):
    """Its owner keeps as many drafts as may be kept."""

    slug = "too-many-drafts"
    title = "Too many drafts"
    status = 409

    def __init__(self, limit: int) -> None:
        super().__init__(f"You keep {limit} drafts, and more may not be kept. Delete one.")


class DraftTooLargeError(ProblemError):
    """A change would make the draft larger than what can be asked with."""

    slug = "draft-too-large"
    title = "The draft would be too large"
    status = 422

    def __init__(self, detail: str) -> None:
        super().__init__(f"The change was not made, as nobody could be asked with that: {detail}.")


class InvalidEditError(ProblemError):
    """A change that cannot be made to this draft, or nothing that a draft can begin from."""

    slug = "invalid-edit"
    title = "The change cannot be made"
    status = 422

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.pointer or 'The whole'}: {fault.detail}", faults=[fault])


class UnknownDraftSourceError(ProblemError):
    """What a draft was to begin from is not here, or not for this caller."""

    slug = "unknown-draft-source"
    title = "Nothing to begin from"
    status = 422

    def __init__(self, what: str, uuid: UUID) -> None:
        super().__init__(
            f"There is no {what} {uuid} here, or it is not yours to begin a draft from.",
            faults=[Fault(f"/{what}", "Unknown, or not yours.")],
        )


class IncompleteRequestError(ProblemError):
    """A request with open places or faults, which nobody can be asked with."""

    slug = "incomplete-request"
    title = "The request is not complete"
    status = 422

    def __init__(self, faults: Sequence[Fault]) -> None:
        count = "One thing is" if len(faults) == 1 else f"{len(faults)} things are"
        super().__init__(f"{count} missing or wrong in the request; see errors.", faults=faults)


class InvalidCursorError(ProblemError):
    """A cursor that is none, or one of another list."""

    slug = "invalid-cursor"
    title = "The cursor is not valid"
    status = 400

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"{detail} Begin without one, and follow the links of the answers.",
            faults=[Fault("/cursor", detail)],
        )


class NotOfferSetOwnerError(ProblemError):
    """Somebody else's offer set."""

    slug = "not-owner"
    title = "Not yours to change"
    status = 403

    def __init__(self, uuid: UUID) -> None:
        super().__init__(f"Offer set {uuid} belongs to somebody else.")


class OfferSetTakenError(ProblemError):
    """One of its offers is accepted, so that the set cannot be asked anew."""

    slug = "offerset-taken"
    title = "An offer is accepted already"
    status = 409

    def __init__(self, uuid: UUID, session: UUID) -> None:
        super().__init__(
            f"Session {session} of offer set {uuid} was accepted. "
            "Cancel it first, or start a draft from it.",
            extensions={"session": str(session)},
        )


class OfferSetReplacedError(ProblemError):
    """It has been asked anew already."""

    slug = "offerset-replaced"
    title = "Asked anew already"
    status = 409

    def __init__(self, uuid: UUID, replacement: UUID | None) -> None:
        which = f"offer set {replacement}; change the request of that" if replacement else "another"
        super().__init__(
            f"Offer set {uuid} has been replaced by {which}.",
            extensions={"offerset": str(replacement)} if replacement else {},
        )
