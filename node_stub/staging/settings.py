"""Section ``staging`` of the settings: where data may come from and results go, and its limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from gateway.httpkit.settings import SecretField, SettingsSchema
from gateway.wire.secret import Secret
from node_stub.staging.allowlist import HTTP_SCHEMES, UrlRules
from node_stub.staging.room import BYTES_PER_GIB

BYTES_PER_MB: Final = 1_000_000

_SECONDS = validate.Range(min=0, max=30 * 86_400, min_inclusive=False)
_NOT_NEGATIVE = validate.Range(min=0)
_POSITIVE = validate.Range(min=0, min_inclusive=False)
_HOST = validate.Regexp(
    r"(?:\*|(?:\*\.)?[A-Za-z0-9._:-]+)\Z", error="must be a host, *.domain for all below it, or *"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Credentials:
    """Keys of the site, used for a request that names them and only at these endpoints.

    ``endpoints`` are ``https://host`` or ``https://host:port``; ``https://*.host`` is every host
    below, for buckets that are part of the host's name.
    """

    endpoints: tuple[str, ...]
    access_key: Secret
    secret_key: Secret
    session_token: Secret | None = None
    region: str = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSettings:
    """Where results may be sent: nowhere, unless hosts are given."""

    hosts: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ("https",)
    private_addresses: bool = False
    parallel: int = 2
    file_timeout_s: float = 3600.0
    max_files: int = 10_000

    def rules(self) -> UrlRules:
        """Which destinations are allowed."""
        return UrlRules(
            schemes=frozenset(self.schemes),
            hosts=self.hosts,
            private_addresses=self.private_addresses,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingSettings:
    """What may be fetched, how, and how much of it.

    ``hosts`` are names, ``*.domain`` for all below a domain, or ``*``. ``parallel`` files are
    fetched at once on the whole node, ``parallel_per_session`` for one session. ``file_timeout_s``
    bounds one file from first to last attempt, ``idle_timeout_s`` a silence of its server;
    ``attempts`` that bring nothing in a row end the trying of one source. ``max_objects`` bounds a
    bucket that is asked for as a whole. ``cache_gib`` 0 is no cache. ``default_*`` are what is
    assumed where nothing is known.
    """

    schemes: tuple[str, ...] = ("https",)
    hosts: tuple[str, ...] = ("*",)
    private_addresses: bool = False
    file_roots: tuple[str, ...] = ()
    parallel: int = 4
    parallel_per_session: int = 2
    max_file_gib: float = 1024.0
    max_objects: int = 1000
    max_redirects: int = 5
    file_timeout_s: float = 21_600.0
    idle_timeout_s: float = 60.0
    connect_timeout_s: float = 10.0
    attempts: int = 5
    backoff_s: float = 1.0
    max_backoff_s: float = 60.0
    cache_gib: float = 0.0
    s3_credentials: Mapping[str, S3Credentials] = field(default_factory=dict)
    push: PushSettings = field(default_factory=PushSettings)
    default_rate_mb_s: float = 50.0
    default_size_gib: float = 1.0

    @property
    def max_file_bytes(self) -> int:
        """The largest file that is fetched."""
        return int(self.max_file_gib * BYTES_PER_GIB)

    @property
    def cache_bytes(self) -> int:
        """How much the cache may hold."""
        return int(self.cache_gib * BYTES_PER_GIB)

    def rules(self) -> UrlRules:
        """Which sources are allowed."""
        return UrlRules(
            schemes=frozenset(self.schemes),
            hosts=self.hosts,
            private_addresses=self.private_addresses,
            file_roots=self.file_roots,
        )

    def wait_s(self, failures: int) -> float:
        """How long to wait after so many failures in a row."""
        # The exponent is bounded: a float overflows beyond 2**1023.
        return min(self.backoff_s * 2.0 ** min(failures - 1, 64), self.max_backoff_s)


class S3CredentialsSchema(SettingsSchema):
    """One entry of ``s3_credentials``: keys as ``access_key_env`` or ``access_key_file``."""

    settings_class: ClassVar[type] = S3Credentials

    endpoints = fields.List(
        fields.String(
            validate=validate.Regexp(
                r"https?://(?:\*\.)?[A-Za-z0-9._-]+(?::[0-9]+)?/?\Z",
                error="must be http(s)://host or http(s)://host:port",
            )
        ),
        required=True,
        validate=validate.Length(min=1),
    )
    access_key = SecretField(required=True)
    secret_key = SecretField(required=True)
    session_token = SecretField()
    region = fields.String(validate=validate.Length(min=1))


class PushSchema(SettingsSchema):
    """Section ``push``."""

    settings_class: ClassVar[type] = PushSettings

    hosts = fields.List(fields.String(validate=_HOST))
    schemes = fields.List(fields.String(validate=validate.OneOf(sorted(HTTP_SCHEMES))))
    private_addresses = fields.Boolean()
    parallel = fields.Integer(strict=True, validate=validate.Range(min=1, max=100))
    file_timeout_s = fields.Float(validate=_SECONDS)
    max_files = fields.Integer(strict=True, validate=validate.Range(min=1, max=1_000_000))


class StagingSchema(SettingsSchema):
    """Section ``staging``."""

    settings_class: ClassVar[type] = StagingSettings

    schemes = fields.List(fields.String(validate=validate.OneOf(["file", *sorted(HTTP_SCHEMES)])))
    hosts = fields.List(fields.String(validate=_HOST))
    private_addresses = fields.Boolean()
    file_roots = fields.List(fields.String())
    parallel = fields.Integer(strict=True, validate=validate.Range(min=1, max=100))
    parallel_per_session = fields.Integer(strict=True, validate=validate.Range(min=1, max=100))
    max_file_gib = fields.Float(validate=_POSITIVE)
    max_objects = fields.Integer(strict=True, validate=validate.Range(min=1, max=100_000))
    max_redirects = fields.Integer(strict=True, validate=validate.Range(min=0, max=20))
    file_timeout_s = fields.Float(validate=_SECONDS)
    idle_timeout_s = fields.Float(validate=_SECONDS)
    connect_timeout_s = fields.Float(validate=_SECONDS)
    attempts = fields.Integer(strict=True, validate=validate.Range(min=1, max=100))
    backoff_s = fields.Float(validate=_SECONDS)
    max_backoff_s = fields.Float(validate=_SECONDS)
    cache_gib = fields.Float(validate=_NOT_NEGATIVE)
    s3_credentials = fields.Dict(
        fields.String(validate=validate.Length(min=1)), fields.Nested(S3CredentialsSchema())
    )
    push = fields.Nested(PushSchema())
    default_rate_mb_s = fields.Float(validate=_POSITIVE)
    default_size_gib = fields.Float(validate=_POSITIVE)

    @validates_schema
    def check_roots(self, data: dict[str, Any], **_: Any) -> None:
        """Roots are absolute and say plainly where they are; files need one, and the scheme."""
        for i, root in enumerate(data.get("file_roots", ())):
            if not root.startswith("/") or ".." in PurePosixPath(root).parts or "\0" in root:
                raise ValidationError({i: ["must be an absolute path without .."]}, "file_roots")
        has_roots, has_scheme = bool(data.get("file_roots")), "file" in data.get("schemes", ())
        if has_roots != has_scheme:
            raise ValidationError("go with the scheme file, and it with them", "file_roots")

    @post_load
    def to_settings(self, data: dict[str, Any], **_: Any) -> StagingSettings:
        """Lists as tuples, and roots in their shortest spelling."""
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in data.items()
        }
        if "file_roots" in values:
            values["file_roots"] = tuple(str(PurePosixPath(r)) for r in values["file_roots"])
        return StagingSettings(**values)
