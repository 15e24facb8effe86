"""What callers with bearer tokens are refused with (RFC 6750 §3)."""

from typing import ClassVar

from aiohttp import hdrs

from gateway.httpkit.errors import (
    BEARER_CHALLENGE,
    ForbiddenProblem,
    OverloadedProblem,
    UnauthorizedProblem,
)


class InvalidTokenProblem(UnauthorizedProblem):
    """A bearer token does not hold; the text says why, and nothing of the token."""

    slug: ClassVar[str] = "invalid-token"
    title: ClassVar[str] = "The token does not hold"

    def __init__(self, why: str) -> None:
        super().__init__(f"The bearer token {why}.")
        said = f'{BEARER_CHALLENGE}, error="invalid_token", error_description="{why}"'
        self.headers[hdrs.WWW_AUTHENTICATE] = said


class InsufficientScopeProblem(ForbiddenProblem):
    """The token holds, and whom it speaks for is in none of the groups that may call."""

    def __init__(self) -> None:
        why = "is of nobody in a group that may call here"
        super().__init__(
            f"The bearer token {why}.",
            headers={
                hdrs.WWW_AUTHENTICATE: f'{BEARER_CHALLENGE}, error="insufficient_scope", '
                f'error_description="{why}"'
            },
        )


class IssuerAwayProblem(OverloadedProblem):
    """The issuer's keys cannot be had, so that nobody can say whether the token holds."""

    slug: ClassVar[str] = "issuer-away"
    title: ClassVar[str] = "The issuer of the token does not answer"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            "The keys of the token's issuer cannot be had at the moment; nothing is known of the "
            "token.",
            retry_after_s=retry_after_s,
        )
