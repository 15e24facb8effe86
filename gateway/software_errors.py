"""What the register of execution templates refuses, one class a cause."""

from collections.abc import Sequence
from uuid import UUID

from gateway.wire.problem import Fault, ProblemError


class UnknownTemplateError(ProblemError):
    """No execution template of that UUID, or no such version of it."""

    slug = "unknown-template"
    title = "Template not found"
    status = 404

    def __init__(self, uuid: UUID, number: int | None = None) -> None:
        which = "" if number is None else f" in version {number}"
        super().__init__(f"There is no execution template {uuid}{which} here.")


class NotTemplateOwnerError(ProblemError):
    """Somebody else's execution template."""

    slug = "not-owner"
    title = "Not yours to change"
    status = 403

    def __init__(self, uuid: UUID) -> None:
        super().__init__(
            f"Template {uuid} belongs to somebody else. Publish a copy of your own instead."
        )


class TooManyTemplatesError(ProblemError):
    """One owner has as many execution templates as are kept for one."""

    slug = "too-many-templates"
    title = "Too many templates"
    status = 409

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"You have {limit} templates, which is as many as one owner may have. "
            "Make a new version of one, or delete one."
        )


class TemplateImportError(ProblemError):
    """What a URL leads to cannot be made a template."""

    slug = "import-failed"
    title = "The template cannot be imported"
    status = 422

    def __init__(self, url: str, why: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(f"{url[:300]} was not imported: {why}.", faults=faults)
