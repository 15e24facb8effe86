"""The sections of a settings file that both services have."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final, TextIO

from marshmallow import ValidationError, fields, validate, validates_schema

from gateway.httpkit.bearer.settings import IssuerSchema, IssuerSettings
from gateway.httpkit.listen_address import ListenAddress, parse_listen
from gateway.httpkit.rate_settings import (
    Network,
    NetworkField,
    RateLimitSchema,
    RateLimitSettings,
)
from gateway.httpkit.settings import SecretField, SettingsSchema
from gateway.httpkit.tls import TlsSchema, TlsSettings
from gateway.httpkit.url_field import HttpUrlField
from gateway.wire.secret import Secret

DEFAULT_MAX_BODY_BYTES: Final = 1024 * 1024
"""A request names images and data, it does not contain them: real ones are a few kilobytes."""

DEFAULT_DRAIN_S: Final = 10.0
"""Longer than the default deadline of a request, shorter than orchestrators wait (30 s)."""


class LogFormat(StrEnum):
    """How log events are written; ``auto`` is for a reader on a terminal, else JSON."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"

    def is_json_on(self, stream: TextIO) -> bool:
        """Whether events are written to the stream as JSON."""
        return self is LogFormat.JSON or (self is LogFormat.AUTO and not stream.isatty())


class LogLevel(StrEnum):
    """The least serious level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Reads(StrEnum):
    """Who may read sessions and offer sets."""

    PUBLIC = "public"
    OWNER = "owner"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSettings:
    """The administrator's account; it has no identity of its own and may do everything."""

    username: str
    password: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticationSettings:
    """Who must say who they are. Not enabled, everybody is the same anonymous owner.

    ``issuers`` are the OpenID providers whose tokens are taken, beside the passwords of local
    identities.
    """

    enabled: bool = True
    reads: Reads = Reads.PUBLIC
    issuers: tuple[IssuerSettings, ...] = ()

    @property
    def schemes(self) -> tuple[str, ...]:
        """The ways to say who one is, by their names in ``Authorization``; none where none is."""
        if not self.enabled:
            return ()
        return ("basic", "bearer") if self.issuers else ("basic",)


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """What every service needs to serve HTTP; the settings of a service inherit from it.

    Attributes
    ----------
    public_url
        What the URLs in answers begin with; by default what the client used.
    drain_notice_s
        How long connections are still taken once the process was told to end and ``/readyz`` says
        no: as long as whoever sends requests here needs to notice.
    drain_s
        How long requests may still take after that.
    tls
        What is shown to whoever connects; without it the service speaks plain HTTP.
    trusted_proxies
        Whose ``X-Forwarded-For`` is believed; by default nobody's.
    """

    listen: ListenAddress = field(default_factory=lambda: ListenAddress("127.0.0.1", 8080))
    public_url: str | None = None
    log_format: LogFormat = LogFormat.AUTO
    log_level: LogLevel = LogLevel.INFO
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    drain_notice_s: float = 0.0
    drain_s: float = DEFAULT_DRAIN_S
    admin: AdminSettings | None = None
    authentication: AuthenticationSettings = field(default_factory=AuthenticationSettings)
    rate_limits: RateLimitSettings = field(default_factory=RateLimitSettings)
    trusted_proxies: tuple[Network, ...] = ()
    tls: TlsSettings | None = None


class ListenField(fields.Field[ListenAddress]):
    """``HOST:PORT``."""

    def _deserialize(
        self,
        value: Any,
        attr: str | None,  # noqa: ARG002  # marshmallow passes it
        data: Any,  # noqa: ARG002  # marshmallow passes it
        **kwargs: Any,  # noqa: ARG002  # marshmallow passes them
    ) -> ListenAddress:
        if not isinstance(value, str):
            raise ValidationError("must be a string HOST:PORT")
        try:
            return parse_listen(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error


class AdminSchema(SettingsSchema):
    """Section ``admin``."""

    settings_class: ClassVar[type] = AdminSettings

    username = fields.String(
        required=True,
        validate=validate.Regexp(
            r"[^:\x00-\x1f\x7f]+\Z", error="must be one or more characters, without a colon"
        ),
    )
    password = SecretField(required=True)


class AuthenticationSchema(SettingsSchema):
    """Section ``authentication``."""

    settings_class: ClassVar[type] = AuthenticationSettings

    enabled = fields.Boolean(truthy={True}, falsy={False})
    reads = fields.Enum(Reads, by_value=True)
    issuers = fields.List(fields.Nested(IssuerSchema()))

    @validates_schema
    def check_issuers(self, data: dict[str, Any], **_: Any) -> None:
        """An issuer has one set of rules; and where nobody is asked, its tokens mean nothing."""
        issuers = data.get("issuers", ())
        if issuers and not data.get("enabled", True):
            raise ValidationError("need authentication.enabled", "issuers")
        seen: set[str] = set()
        for index, one in enumerate(issuers):
            if one.issuer in seen:
                raise ValidationError({"issuers": {index: {"issuer": ["is given twice"]}}})
            seen.add(one.issuer)


class ServerSchema(SettingsSchema):
    """The members that stand at the top of every settings file; a service's schema inherits."""

    settings_class: ClassVar[type] = ServerSettings

    listen = ListenField()
    public_url = HttpUrlField(allow_none=True)
    log_format = fields.Enum(LogFormat, by_value=True)
    log_level = fields.Enum(LogLevel, by_value=True)
    max_body_bytes = fields.Integer(strict=True, validate=validate.Range(min=1024))
    drain_notice_s = fields.Float(validate=validate.Range(min=0, max=3600))
    drain_s = fields.Float(validate=validate.Range(min=0, max=3600))
    admin = fields.Nested(AdminSchema(), allow_none=True)
    authentication = fields.Nested(AuthenticationSchema())
    rate_limits = fields.Nested(RateLimitSchema())
    trusted_proxies = fields.List(NetworkField())
    tls = fields.Nested(TlsSchema(), allow_none=True)
