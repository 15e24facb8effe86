"""How the settings file says what may be found and imported here."""

from typing import ClassVar, Final

from marshmallow import fields, validate

from gateway.httpkit.settings import SettingsSchema
from gateway.settings import DiscoverySettings

_HOST: Final = validate.Regexp(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?\Z",
    error="must be a host, or host:port where the port is not the usual one",
)


class DiscoverySchema(SettingsSchema):
    """The section ``discovery``."""

    settings_class: ClassVar[type] = DiscoverySettings

    import_hosts = fields.List(fields.String(validate=_HOST))
    import_http = fields.Boolean(truthy={True}, falsy={False})
    import_private = fields.Boolean(truthy={True}, falsy={False})
    import_s = fields.Float(validate=validate.Range(min=0.05, max=30))
    import_bytes = fields.Integer(strict=True, validate=validate.Range(min=1024, max=16 << 20))
    templates_per_owner = fields.Integer(strict=True, validate=validate.Range(min=0, max=100_000))
