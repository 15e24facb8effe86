"""Which issuers of tokens are believed, and for what."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields, validate, validates_schema

from gateway.httpkit.files import CaFileField
from gateway.httpkit.settings import SettingsSchema

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512"),
    *("PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512"),
)
"""What a token may be signed with (RFC 7518 §3.1): only what the issuer alone can sign. Not
``none``, nor a shared secret, for which a public key could be taken."""

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
"""Hosts that ``allow_http`` is for."""

MAX_URL_LENGTH: Final = 512
"""Of an issuer, in characters: it is part of every owner that it vouches for."""

_NAME = validate.Length(min=1, max=255)
_NEEDED: Final = validate.Length(min=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerSettings:
    """One OpenID provider.

    Attributes
    ----------
    issuer
        Its URL, to the letter as its tokens have it in ``iss``.
    audiences
        A token must be for one of these.
    groups_claims
        Claims of a token that name groups, all of which are taken.
    group_prefix
        Stands before the groups of this issuer, where another has groups of the same names.
    required_groups
        Who is in none of these may not call; empty: everybody may. As the issuer names them.
    admin_groups
        Whose members are administrators. As the issuer names them.
    username_claims
        The first of these that a token has is shown as the name; else it is ``sub``.
    leeway_s
        How far the issuer's clock may be from ours.
    keys_every_s
        A key that is not known makes us fetch the keys again, no oftener than this.
    ca_file
        Certificates of the authorities that its own is of; by default those of the system.
    allow_http
        For an issuer on this machine, in tests.
    """

    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...] = ALGORITHMS
    groups_claims: tuple[str, ...] = ("groups", "wlcg.groups", "entitlements")
    group_prefix: str = ""
    required_groups: tuple[str, ...] = ()
    admin_groups: tuple[str, ...] = ()
    username_claims: tuple[str, ...] = ("preferred_username", "name")
    leeway_s: float = 30.0
    keys_every_s: float = 30.0
    ca_file: Path | None = None
    allow_http: bool = False


def url_fault(url: str, *, allow_http: bool) -> str | None:
    """Why a URL may not be asked for what tokens are believed by; None if it may."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "is not a URL"
    if not host or parts.query or parts.fragment or "@" in url or not url.isprintable():
        return "must be a URL without user, query or fragment"
    if " " in url:
        return "must have no space"
    if parts.scheme == "https" or (parts.scheme == "http" and allow_http and host in LOOPBACK):
        return None
    return "must begin with https:// (http:// needs allow_http and is for this machine alone)"


def _names(**options: Any) -> fields.List[str]:
    return fields.List(fields.String(validate=_NAME), **options)


class IssuerSchema(SettingsSchema):
    """One entry of ``authentication.issuers``."""

    settings_class: ClassVar[type] = IssuerSettings

    issuer = fields.String(required=True, validate=validate.Length(min=1, max=MAX_URL_LENGTH))
    audiences = _names(required=True, validate=_NEEDED)
    algorithms = fields.List(fields.String(validate=validate.OneOf(ALGORITHMS)), validate=_NEEDED)
    groups_claims = _names()
    group_prefix = fields.String(validate=validate.Length(max=255))
    required_groups = _names(validate=_NEEDED)
    admin_groups = _names()
    username_claims = _names()
    leeway_s = fields.Float(validate=validate.Range(min=0, max=600))
    keys_every_s = fields.Float(validate=validate.Range(min=0.05, max=3600))
    ca_file = CaFileField()
    allow_http = fields.Boolean(truthy={True}, falsy={False})

    @validates_schema
    def check_issuer(self, data: dict[str, Any], **_: Any) -> None:
        """Keys that come over an open line could be anybody's."""
        if "issuer" in data:
            fault = url_fault(data["issuer"], allow_http=data.get("allow_http", False))
            if fault is not None:
                raise ValidationError(fault, "issuer")
