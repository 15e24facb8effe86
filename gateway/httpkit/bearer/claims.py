"""What the claims of a token say, once its signature is known to hold. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from gateway.httpkit.bearer.errors import InvalidTokenProblem
from gateway.httpkit.bearer.settings import IssuerSettings
from gateway.wire.documents import Document
from gateway.wire.identity import Subject

MAX_SUBJECT_LENGTH: Final = 255
"""In characters (OpenID Connect Core 1.0 §2)."""

MAX_GROUPS: Final = 1000
"""Groups of one token; a token of the longest header line there can be has no more."""

MAX_NAME_LENGTH: Final = 255
"""Of a group and of a shown name, in characters."""

TYPES: Final = frozenset({"jwt", "at+jwt"})
"""What ``typ`` may say of a token that gives access (RFC 7519 §5.1, RFC 9068 §2.1). Other sorts of
the same issuer, such as logout tokens, are signed with the same keys and mean something else."""

_FOREVER_S: Final = 1e11  # the year 5138: seconds beyond are milliseconds, or nonsense


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whom a token speaks for, and until when, in seconds since 1970."""

    subject: Subject
    username: str
    groups: frozenset[str]
    is_member: bool
    is_admin: bool
    expires: float

    @property
    def owner(self) -> str:
        """Who the things are owned by that it makes."""
        return self.subject.owner


def check_type(header: Document) -> None:
    """See that the token is of a sort that gives access.

    Raises
    ------
    InvalidTokenProblem
    """
    kind = header.get("typ", "JWT")
    name = kind.lower().removeprefix("application/") if isinstance(kind, str) else ""
    if name not in TYPES:
        raise InvalidTokenProblem("is not an access token")


def read_claims(claims: Document, settings: IssuerSettings, now: float) -> Speaker:
    """Whom the token speaks for.

    Parameters
    ----------
    now
        Seconds since 1970.

    Raises
    ------
    InvalidTokenProblem
        It is not valid now, not for this service, or lacks what it must have.
    """
    if claims.get("iss") != settings.issuer:
        raise InvalidTokenProblem("is of another issuer")
    _check_audience(claims.get("aud"), settings)
    expires = _check_times(claims, settings.leeway_s, now)
    subject = _plain(claims.get("sub"), MAX_SUBJECT_LENGTH)
    if subject is None:
        raise InvalidTokenProblem("does not say whom it speaks for")
    groups = frozenset(_groups(claims, settings))
    return Speaker(
        subject=Subject(settings.issuer, subject),
        username=_username(claims, settings) or subject,
        groups=frozenset(settings.group_prefix + group for group in groups),
        is_member=not settings.required_groups or not groups.isdisjoint(settings.required_groups),
        is_admin=not groups.isdisjoint(settings.admin_groups),
        expires=expires,
    )


def _check_audience(given: Any, settings: IssuerSettings) -> None:
    audiences = given if isinstance(given, list) else [given]
    if not any(isinstance(one, str) and one in settings.audiences for one in audiences):
        raise InvalidTokenProblem("is for another audience")


def _check_times(claims: Document, leeway_s: float, now: float) -> float:
    """Whether it is valid now; until when it is, leeway included."""
    expires = _instant(claims, "exp")
    if expires is None:
        raise InvalidTokenProblem("does not say when it expires")
    if expires + leeway_s <= now:
        raise InvalidTokenProblem("has expired")
    for name in ("nbf", "iat"):
        begins = _instant(claims, name)
        if begins is not None and begins - leeway_s > now:
            raise InvalidTokenProblem("is not valid yet")
    return expires + leeway_s


def _instant(claims: Document, name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0 <= value < _FOREVER_S:
        raise InvalidTokenProblem("has a time that cannot be read")
    return float(value)


def _username(claims: Document, settings: IssuerSettings) -> str | None:
    for name in settings.username_claims:
        username = _plain(claims.get(name), MAX_NAME_LENGTH)
        if username is not None:
            return username
    return None


def _groups(claims: Document, settings: IssuerSettings) -> Iterator[str]:
    """The groups of all claims that have some; what is no name of a group is passed by."""
    found = 0
    for claim in settings.groups_claims:
        value = claims.get(claim)
        for entry in value if isinstance(value, list) else [value]:
            group = _plain(entry, MAX_NAME_LENGTH)
            if group is not None and found < MAX_GROUPS:
                found += 1
                yield group


def _plain(value: Any, longest: int) -> str | None:
    """The text, if it is one that can be kept and shown."""
    if isinstance(value, str) and 0 < len(value) <= longest and value.isprintable():
        return value
    return None
