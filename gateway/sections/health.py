"""How the settings file says when a node is left alone and asked again."""

from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, validate, validates_schema

from gateway.httpkit.settings import SettingsSchema
from gateway.settings import HealthSettings

_SECONDS: Final = validate.Range(min=0, min_inclusive=False, max=86_400)


class HealthSchema(SettingsSchema):
    """The section ``health``."""

    settings_class: ClassVar[type] = HealthSettings

    failures = fields.Integer(strict=True, validate=validate.Range(min=1, max=1000))
    failing_for_s = fields.Float(validate=validate.Range(min=0, max=3600))
    fair_wait_s = fields.Float(validate=_SECONDS)
    ejection_s = fields.Float(validate=_SECONDS)
    longest_ejection_s = fields.Float(validate=_SECONDS)
    min_askable_share = fields.Float(validate=validate.Range(min=0, max=1))
    grace_s = fields.Float(validate=validate.Range(min=0, max=3600))
    probe_every_s = fields.Float(validate=validate.Range(min=0, max=86_400))
    probe_wait_s = fields.Float(validate=validate.Range(min=0, min_inclusive=False, max=60))
    min_in_flight = fields.Integer(strict=True, validate=validate.Range(min=1, max=10_000))

    @validates_schema
    def check_ejections(self, data: dict[str, Any], **_: Any) -> None:
        """The longest ejection cannot be shorter than the first."""
        usual = HealthSettings()
        first_s = data.get("ejection_s", usual.ejection_s)
        if data.get("longest_ejection_s", usual.longest_ejection_s) < first_s:
            raise ValidationError("must not be below health.ejection_s", "longest_ejection_s")
