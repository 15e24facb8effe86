"""How the settings file says how many drafts are kept, and how long."""

from typing import ClassVar

from marshmallow import fields, validate

from gateway.httpkit.settings import SettingsSchema
from gateway.settings import DraftSettings


class DraftSchema(SettingsSchema):
    """The section ``drafts``."""

    settings_class: ClassVar[type] = DraftSettings

    days = fields.Float(validate=validate.Range(min=0, min_inclusive=False, max=36_500))
    per_owner = fields.Integer(strict=True, validate=validate.Range(min=1, max=100_000))
