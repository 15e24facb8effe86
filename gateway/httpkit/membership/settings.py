"""The section ``join`` of a settings file: the gateways that a service registers itself with."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, validate

from gateway.httpkit.files import CaFileField
from gateway.httpkit.settings import NAME, SecretField, SettingsSchema, TypedSettingsSchema
from gateway.httpkit.url_field import PlainUrlField
from gateway.wire.documents import Document
from gateway.wire.secret import Secret

MAX_GATEWAYS: Final = 32
"""Gateways that one service may join; as many as hops that a request may take."""

_TOKEN: Final = re.compile(r"[ -~]+", re.ASCII)  # what a header can carry (RFC 9110 §5.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicOffered:
    """The gateway is to use an account of ours, HTTP Basic."""

    username: str
    password: Secret

    def to_document(self) -> Document:
        """As the registration says it, with the secret."""
        return {"type": "basic", "username": self.username, "password": self.password.reveal()}


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerOffered:
    """The gateway is to use a token that is good here."""

    token: Secret

    def to_document(self) -> Document:
        """As the registration says it, with the secret."""
        return {"type": "bearer", "token": self.token.reveal()}


@dataclass(frozen=True, slots=True, kw_only=True)
class PassThroughOffered:
    """The gateway is to hand on its callers' own credentials."""

    def to_document(self) -> Document:
        """As the registration says it."""
        return {"type": "pass_through"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NothingOffered:
    """The gateway needs no credentials here."""

    def to_document(self) -> Document:
        """As the registration says it."""
        return {"type": "none"}


OfferedCredentials = BasicOffered | BearerOffered | PassThroughOffered | NothingOffered
"""What a gateway is told to use when it speaks to us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinSettings:
    """One gateway to join.

    ``gateway`` is its URL. ``token`` registers once; from then on a credential of our own does,
    which is kept. ``name`` is what we are called there, by default our own name; ``url`` where it
    reaches us, by default ``public_url``, or without one the address that we listen on. ``ca_file``
    holds certificates (PEM) of the authorities that are trusted there in place of the system's.
    """

    gateway: str
    token: Secret | None = None
    name: str | None = None
    url: str | None = None
    credentials: OfferedCredentials = field(default_factory=NothingOffered)
    ca_file: Path | None = None


def _check_token(token: Secret) -> None:
    if not _TOKEN.fullmatch(token.reveal()):
        raise ValidationError("is no token: it has characters that no header can carry")


class _BasicSchema(SettingsSchema):
    settings_class: ClassVar[type] = BasicOffered

    username = fields.String(required=True, validate=validate.Length(min=1))
    password = SecretField(required=True)


class _BearerSchema(SettingsSchema):
    settings_class: ClassVar[type] = BearerOffered

    token = SecretField(required=True, validate=_check_token)


class _PassThroughSchema(SettingsSchema):
    settings_class: ClassVar[type] = PassThroughOffered


class _NothingSchema(SettingsSchema):
    settings_class: ClassVar[type] = NothingOffered


class _OfferedSchema(TypedSettingsSchema):
    type_schemas = {  # noqa: RUF012  # an instance attribute in the library
        "basic": _BasicSchema(),
        "bearer": _BearerSchema(),
        "pass_through": _PassThroughSchema(),
        "none": _NothingSchema(),
    }


class JoinSchema(SettingsSchema):
    """One entry of the section ``join``."""

    settings_class: ClassVar[type] = JoinSettings

    gateway = PlainUrlField(required=True)
    token = SecretField(validate=_check_token)
    name = fields.String(validate=NAME)
    url = PlainUrlField()
    credentials = fields.Nested(_OfferedSchema())
    ca_file = CaFileField()


class JoinsField(fields.List[JoinSettings]):
    """The section ``join``: every gateway is named once."""

    def __init__(self, **more: Any) -> None:
        super().__init__(
            fields.Nested(JoinSchema()), validate=validate.Length(max=MAX_GATEWAYS), **more
        )

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        joins: list[Any] = super()._deserialize(value, attr, data, **kwargs)
        seen: set[str] = set()
        for index, join in enumerate(joins):
            if join.gateway in seen:
                raise ValidationError({index: {"gateway": ["is joined already"]}})
            seen.add(join.gateway)
        return joins
