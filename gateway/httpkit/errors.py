# ruff: noqa: N818  # a problem is what the client gets, and these are named after the word
"""The problems that both services answer with, one class per cause.

Problems of one service's own rules subclass ``ProblemError`` where those rules are.
"""

from collections.abc import Mapping, Sequence

from aiohttp import hdrs

from gateway.wire.problem import Fault, ProblemError

CHALLENGE = 'Basic realm="Realm"'
"""The challenge of a 401, byte for byte what the upstream service sends."""

BEARER_CHALLENGE = 'Bearer realm="Realm"'
"""The other one, where tokens are taken too (RFC 6750 §3)."""


class ValidationProblem(ProblemError):
    """The body can be read but is not what the operation takes."""

    slug = "invalid-document"
    title = "The document is not valid"
    status = 400

    def __init__(self, faults: Sequence[Fault]) -> None:
        count = "One fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(f"{count} in the document; see errors.", faults=faults)


class QueryProblem(ProblemError):
    """A query parameter is unknown or has a value that it cannot have."""

    slug = "invalid-query"
    title = "The query is not valid"
    status = 400

    def __init__(self, faults: Sequence[Fault]) -> None:
        names = ", ".join(sorted({fault.pointer.split("/")[1] for fault in faults}))
        super().__init__(f"Query parameters at fault: {names}; see errors.", faults=faults)


class MalformedBodyProblem(ProblemError):
    """The body is missing, broken off or not of the media type it claims."""

    slug = "malformed-body"
    title = "The body cannot be read"
    status = 400


class MalformedRequestProblem(ProblemError):
    """A part of the request other than its body cannot be read."""

    slug = "malformed-request"
    title = "The request cannot be read"
    status = 400


class UnauthorizedProblem(ProblemError):
    """No credentials where they are needed, or wrong ones anywhere."""

    slug = "unauthorized"
    title = "Valid credentials are needed"
    status = 401

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={hdrs.WWW_AUTHENTICATE: CHALLENGE})


class ForbiddenProblem(ProblemError):
    """The caller is known and may not do this."""

    slug = "forbidden"
    title = "Not allowed"
    status = 403


class NotFoundProblem(ProblemError):
    """There is nothing of that name here."""

    slug = "not-found"
    title = "Not found"
    status = 404


class MethodNotAllowedProblem(ProblemError):
    """The path exists and does not take this method."""

    slug = "method-not-allowed"
    title = "Method not allowed"
    status = 405

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        listed = ", ".join(allowed)
        super().__init__(
            f"{method} is not allowed here; allowed: {listed}.", headers={hdrs.ALLOW: listed}
        )


class NotAcceptableProblem(ProblemError):
    """None of the media types the client accepts can be made."""

    slug = "not-acceptable"
    title = "No acceptable media type"
    status = 406

    def __init__(self, offered: Sequence[str]) -> None:
        super().__init__(f"The answer can be made as {', '.join(offered)}.")


class BodyTimeoutProblem(ProblemError):
    """The body did not come in time. The connection is closed, since the rest may still come."""

    slug = "body-timeout"
    title = "The body came too slowly"
    status = 408

    def __init__(self, limit_s: float) -> None:
        super().__init__(
            f"The whole body must arrive within {limit_s:g} s.", headers={hdrs.CONNECTION: "close"}
        )


class ConflictProblem(ProblemError):
    """What is asked contradicts what is."""

    slug = "conflict"
    title = "Conflict"
    status = 409


class BodyTooLargeProblem(ProblemError):
    """The body is larger than this service reads."""

    slug = "body-too-large"
    title = "The body is too large"
    status = 413

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"A body may have at most {limit_bytes} bytes.")


class RequestLineTooLongProblem(ProblemError):
    """The request line, which is mostly the URI, is longer than this service reads."""

    slug = "request-line-too-long"
    title = "The URI is too long"
    status = 414

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"A request line may have at most {limit_bytes} bytes.")


class HeaderFieldTooLongProblem(ProblemError):
    """A header field is longer than this service reads (RFC 6585 §5)."""

    slug = "header-field-too-long"
    title = "A header field is too long"
    status = 431

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"A header field may have at most {limit_bytes} bytes.")


class UnsupportedMediaTypeProblem(ProblemError):
    """The body is of a media type that is not read here."""

    slug = "unsupported-media-type"
    title = "Unsupported media type"
    status = 415

    def __init__(self, given: str | None, supported: Sequence[str]) -> None:
        what = "A body needs a Content-Type" if given is None else f"{given!r} is not read here"
        listed = ", ".join(supported)
        super().__init__(f"{what}; supported: {listed}.", headers={hdrs.ACCEPT: listed})


class InternalProblem(ProblemError):
    """A defect of ours; the log has the rest under the request id."""

    slug = "internal-error"
    title = "Internal error"
    status = 500

    def __init__(self) -> None:
        super().__init__("The service failed; its log explains it under this request id.")


class OverloadedProblem(ProblemError):
    """Too much is waiting already; the same request may succeed later."""

    slug = "overloaded"
    title = "The service is overloaded"
    status = 503

    def __init__(self, detail: str, *, retry_after_s: int = 1) -> None:
        super().__init__(detail, headers={hdrs.RETRY_AFTER: str(retry_after_s)})


class NotReadyProblem(ProblemError):
    """The service is starting, draining or lacks something it needs."""

    slug = "not-ready"
    title = "Not ready"
    status = 503

    def __init__(self, failures: Mapping[str, str]) -> None:
        listed = ", ".join(f"{name}: {text}" for name, text in failures.items())
        super().__init__(f"Not ready ({listed}).", headers={hdrs.RETRY_AFTER: "1"})
