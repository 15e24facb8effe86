"""How the settings file says how long the audit trail is kept."""

from typing import ClassVar

from marshmallow import fields, validate

from gateway.httpkit.settings import SettingsSchema
from gateway.settings import AuditSettings


class AuditSchema(SettingsSchema):
    """The section ``audit``."""

    settings_class: ClassVar[type] = AuditSettings

    days = fields.Float(validate=validate.Range(min=1, max=36_600))
