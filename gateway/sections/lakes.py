"""How the sections about data are read from the settings file, and what is wrong with them."""

from typing import Any, ClassVar, Final

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from gateway.httpkit.files import CaFileField, FileField
from gateway.httpkit.settings import (
    NAME,
    SecretField,
    SettingsError,
    SettingsSchema,
    TypedSettingsSchema,
)
from gateway.httpkit.url_field import PlainUrlField
from gateway.sections.lake_catalogue import load_catalogue
from gateway.sections.lake_settings import (
    DmApiLakeSettings,
    LakeSections,
    LinkSettings,
    LocatingSettings,
    OidcSettings,
    RucioLakeSettings,
    SiteCapabilitiesSettings,
    SiteSettings,
    StaticLakeSettings,
)

_NOT_EMPTY: Final = validate.Length(min=1)
_SECONDS: Final = validate.Range(min=0, min_inclusive=False, max=30 * 86_400)
_RATE: Final = validate.Range(min=0, min_inclusive=False)


class _OneOrMany(fields.Field[tuple[Any, ...]]):
    """One section, or a list of such."""

    def __init__(self, inner: Schema, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._one = fields.Nested(inner)
        self._many = fields.List(fields.Nested(inner))

    def _deserialize(
        self, value: Any, attr: str | None, data: Any, **kwargs: Any
    ) -> tuple[Any, ...]:
        if isinstance(value, list):
            return tuple(self._many.deserialize(value, attr, data, **kwargs))
        return (self._one.deserialize(value, attr, data, **kwargs),)


class _OidcSchema(SettingsSchema):
    settings_class: ClassVar[type] = OidcSettings

    token_url = PlainUrlField(required=True)
    client_id = fields.String(required=True, validate=_NOT_EMPTY)
    client_secret = SecretField(required=True)
    audience = fields.String(validate=_NOT_EMPTY)
    scope = fields.String(validate=_NOT_EMPTY)


class _ServiceSchema(SettingsSchema):
    """What all services have that are asked over HTTP."""

    url = PlainUrlField(required=True)
    token = SecretField()
    oidc = fields.Nested(_OidcSchema())
    ca_file = CaFileField()

    @validates_schema
    def check_credentials(self, data: dict[str, Any], **_: Any) -> None:
        """There is one way in."""
        ways = [name for name in ("username", "token", "oidc") if name in data]
        if len(ways) > 1:
            raise ValidationError(f"give one of {' and '.join(ways)}, not both", ways[-1])
        if ("username" in data) != ("password" in data):
            raise ValidationError("username and password belong together", "username")


class _StaticSchema(SettingsSchema):
    settings_class: ClassVar[type] = StaticLakeSettings

    file = FileField(required=True)
    name = fields.String(validate=NAME)
    namespaces = fields.List(fields.String(validate=_NOT_EMPTY))

    @validates_schema
    def check_file(self, data: dict[str, Any], **_: Any) -> None:
        """Say early what is wrong with the catalogue."""
        if "file" in data:
            try:
                load_catalogue(data["file"])
            except SettingsError as error:
                raise ValidationError(error.faults, "file") from error


class _RucioSchema(_ServiceSchema):
    settings_class: ClassVar[type] = RucioLakeSettings

    name = fields.String(validate=NAME)
    auth_url = PlainUrlField()
    account = fields.String(validate=_NOT_EMPTY)
    username = fields.String(validate=_NOT_EMPTY)
    password = SecretField()
    endpoints = fields.List(fields.String(validate=_NOT_EMPTY))
    namespaces = fields.List(fields.String(validate=_NOT_EMPTY))
    batch = fields.Integer(strict=True, validate=validate.Range(min=1, max=1000))
    links = fields.Boolean(truthy={True}, falsy={False})


class _DmApiSchema(_ServiceSchema):
    settings_class: ClassVar[type] = DmApiLakeSettings

    name = fields.String(validate=NAME)
    namespaces = fields.List(fields.String(validate=_NOT_EMPTY))


class _LakeSchema(TypedSettingsSchema):
    type_schemas = {  # noqa: RUF012  # an instance attribute in the library
        "static": _StaticSchema(),
        "rucio": _RucioSchema(),
        "dm_api": _DmApiSchema(),
    }


class _SiteCapabilitiesSchema(_ServiceSchema):
    settings_class: ClassVar[type] = SiteCapabilitiesSettings

    refresh_s = fields.Float(validate=_SECONDS)


class _TopologySchema(TypedSettingsSchema):
    type_schemas = {  # noqa: RUF012  # an instance attribute in the library
        "site_capabilities": _SiteCapabilitiesSchema(),
    }


class _SiteSchema(SettingsSchema):
    settings_class: ClassVar[type] = SiteSettings

    latitude = fields.Float(validate=validate.Range(min=-90, max=90))
    longitude = fields.Float(validate=validate.Range(min=-180, max=180))
    group = fields.String(validate=_NOT_EMPTY)
    inbound_gbit_s = fields.Float(validate=_RATE)
    outbound_gbit_s = fields.Float(validate=_RATE)
    rses = fields.List(fields.String(validate=_NOT_EMPTY))
    tapes = fields.List(fields.String(validate=_NOT_EMPTY))
    hosts = fields.List(fields.String(validate=_NOT_EMPTY))

    @validates_schema
    def check_position(self, data: dict[str, Any], **_: Any) -> None:
        """Half a position is none."""
        if ("latitude" in data) != ("longitude" in data):
            raise ValidationError("latitude and longitude belong together", "latitude")


class _LinkSchema(SettingsSchema):
    settings_class: ClassVar[type] = LinkSettings

    source = fields.String(required=True, validate=_NOT_EMPTY, data_key="from")
    target = fields.String(required=True, validate=_NOT_EMPTY, data_key="to")
    gbit_s = fields.Float(required=True, validate=_RATE)
    both_ways = fields.Boolean(truthy={True}, falsy={False})


class _LocatingSchema(SettingsSchema):
    settings_class: ClassVar[type] = LocatingSettings

    fetch_s = fields.Float(validate=_SECONDS)
    failing_s = fields.Float(validate=_SECONDS)
    connect_s = fields.Float(validate=_SECONDS)
    silence_s = fields.Float(validate=_SECONDS)
    failures = fields.Integer(strict=True, validate=validate.Range(min=1, max=1000))
    rest_s = fields.Float(validate=_SECONDS)
    closed_s = fields.Float(validate=_SECONDS)
    open_s = fields.Float(validate=_SECONDS)
    negative_s = fields.Float(validate=_SECONDS)
    stale_s = fields.Float(validate=_SECONDS)
    entries = fields.Integer(strict=True, validate=validate.Range(min=1))
    max_mib = fields.Integer(strict=True, validate=validate.Range(min=1))


class LakeSectionsSchema(SettingsSchema):
    """The sections together; the schema of the gateway's settings inherits from it."""

    settings_class: ClassVar[type] = LakeSections

    data_lake = _OneOrMany(_LakeSchema())
    topology = fields.Nested(_TopologySchema())
    sites = fields.Dict(keys=fields.String(validate=NAME), values=fields.Nested(_SiteSchema()))
    links = fields.List(fields.Nested(_LinkSchema()))
    locating = fields.Nested(_LocatingSchema())

    @validates_schema
    def check_lakes(self, data: dict[str, Any], **_: Any) -> None:
        """A lake's name is how everything refers to it."""
        seen: set[str] = set()
        for index, lake in enumerate(data.get("data_lake", ())):
            if lake.name in seen:
                fault = "is the name of another data lake: give each a name"
                raise ValidationError({"data_lake": {index: {"name": [fault]}}})
            seen.add(lake.name)
