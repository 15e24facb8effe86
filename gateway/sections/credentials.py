"""The section ``credentials`` of a node: what it is shown of the gateway and its callers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, validate

from gateway.domain.node import (
    BasicCredentials,
    BearerCredentials,
    NoCredentials,
    NodeCredentials,
    PassThroughCredentials,
)
from gateway.httpkit.settings import SecretField, SettingsSchema, TypedSettingsSchema
from gateway.httpkit.url_field import HttpUrlField
from gateway.wire.secret import Secret

_TEXT: Final = validate.Length(min=1, max=2048)


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicSettings:
    """A service account at a node, HTTP Basic."""

    username: str
    password: Secret

    def to_credentials(self) -> NodeCredentials:
        """What the node is spoken to with."""
        return BasicCredentials(self.username, self.password)


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerSettings:
    """A service account at a node, with a token."""

    token: Secret

    def to_credentials(self) -> NodeCredentials:
        """What the node is spoken to with."""
        return BearerCredentials(self.token)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassThroughSettings:
    """The caller's own credentials are handed on."""

    def to_credentials(self) -> NodeCredentials:
        """What the node is spoken to with."""
        return PassThroughCredentials()


@dataclass(frozen=True, slots=True, kw_only=True)
class NoCredentialsSettings:
    """The node asks for none."""

    def to_credentials(self) -> NodeCredentials:
        """What the node is spoken to with."""
        return NoCredentials()


FixedSettings = BasicSettings | BearerSettings | PassThroughSettings | NoCredentialsSettings
"""Credentials that need nobody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerSettings:
    """What the gateway is at an issuer; ``audience`` and ``scope`` are of the tokens."""

    token_url: str
    client_id: str
    client_secret: Secret
    audience: str | None = None
    scope: str | None = None


class ClientCredentialsSettings(IssuerSettings):
    """A token of the gateway's own from an issuer (RFC 6749 §4.4), renewed before it ends."""

    __slots__ = ()


class TokenExchangeSettings(IssuerSettings):
    """The caller's token, exchanged at an issuer for one of the node's (RFC 8693)."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SrcnetExchangeSettings:
    """The caller's token, exchanged at SRCNet's authentication service for one of ``service``.

    ``url`` is that of the service, with its version: ``https://authn.example.org/api/v1``.
    """

    url: str
    service: str
    version: str = "latest"


TokenSettings = ClientCredentialsSettings | TokenExchangeSettings | SrcnetExchangeSettings
"""Credentials that somebody else gives out, for a time."""

CredentialsSettings = FixedSettings | TokenSettings
"""Every way a node can be told who asks, as the settings file says it."""


def fixed(ways: Sequence[CredentialsSettings]) -> NodeCredentials | None:
    """What a node is always spoken to with; None where that has to be fetched, or chosen."""
    if len(ways) == 1 and isinstance(ways[0], FixedSettings):
        return ways[0].to_credentials()
    return None


class _BasicSchema(SettingsSchema):
    settings_class: ClassVar[type] = BasicSettings

    username = fields.String(required=True, validate=validate.Length(min=1))
    password = SecretField(required=True)


class _BearerSchema(SettingsSchema):
    settings_class: ClassVar[type] = BearerSettings

    token = SecretField(required=True)


class _PassThroughSchema(SettingsSchema):
    settings_class: ClassVar[type] = PassThroughSettings


class _NoCredentialsSchema(SettingsSchema):
    settings_class: ClassVar[type] = NoCredentialsSettings


class _IssuerSchema(SettingsSchema):
    token_url = HttpUrlField(required=True)
    client_id = fields.String(required=True, validate=_TEXT)
    client_secret = SecretField(required=True)
    audience = fields.String(validate=_TEXT)
    scope = fields.String(validate=_TEXT)


class _ClientCredentialsSchema(_IssuerSchema):
    settings_class: ClassVar[type] = ClientCredentialsSettings


class _TokenExchangeSchema(_IssuerSchema):
    settings_class: ClassVar[type] = TokenExchangeSettings


class _SrcnetExchangeSchema(SettingsSchema):
    settings_class: ClassVar[type] = SrcnetExchangeSettings

    url = HttpUrlField(required=True)
    service = fields.String(required=True, validate=_TEXT)
    version = fields.String(validate=_TEXT)


class CredentialsSchema(TypedSettingsSchema):
    """One way to log in at a node."""

    type_schemas = {  # noqa: RUF012  # an instance attribute in the library
        "basic": _BasicSchema(),
        "bearer": _BearerSchema(),
        "pass_through": _PassThroughSchema(),
        "none": _NoCredentialsSchema(),
        "client_credentials": _ClientCredentialsSchema(),
        "token_exchange": _TokenExchangeSchema(),
        "srcnet_exchange": _SrcnetExchangeSchema(),
    }


class CredentialsField(fields.Field[tuple[CredentialsSettings, ...]]):
    """One way to log in at a node, or a list of them: each stands in for those before it."""

    def _deserialize(
        self,
        value: Any,
        attr: str | None,  # noqa: ARG002  # marshmallow passes it
        data: Any,  # noqa: ARG002  # marshmallow passes it
        **kwargs: Any,  # noqa: ARG002  # marshmallow passes them
    ) -> tuple[CredentialsSettings, ...]:
        if isinstance(value, tuple | list) and not value:
            raise ValidationError("must not be empty: leave it out, or give {type: none}")
        many = fields.List(fields.Nested(CredentialsSchema()), required=True)
        if isinstance(value, list):
            loaded: list[Any] = many.deserialize(value)
            return tuple(loaded)
        return (fields.Nested(CredentialsSchema()).deserialize(value),)
