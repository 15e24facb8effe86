"""How the settings file says how sessions are followed, and how commands are delivered."""

from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, validate, validates_schema

from gateway.httpkit.settings import SettingsSchema
from gateway.settings import CommandSettings, SessionSettings

_SECONDS: Final = validate.Range(min=0, min_inclusive=False, max=86_400)


class SessionsSchema(SettingsSchema):
    """The section ``sessions``."""

    settings_class: ClassVar[type] = SessionSettings

    fresh_s = fields.Float(validate=validate.Range(min=0, max=3600))
    read_deadline_s = fields.Float(validate=_SECONDS)
    update_deadline_s = fields.Float(validate=_SECONDS)
    follow_s = fields.Float(validate=_SECONDS)
    offersets_days = fields.Float(validate=validate.Range(min=0))
    offers_s = fields.Float(validate=validate.Range(min=0))
    resubmit_after_s = fields.Float(validate=validate.Range(min=1, max=604_800))
    resubmit_limit = fields.Integer(strict=True, validate=validate.Range(min=0, max=100))


class CommandsSchema(SettingsSchema):
    """The section ``commands``."""

    settings_class: ClassVar[type] = CommandSettings

    first_s = fields.Float(validate=_SECONDS)
    longest_s = fields.Float(validate=_SECONDS)
    give_up_s = fields.Float(validate=validate.Range(min=1))
    cancel_days = fields.Float(validate=validate.Range(min=0, min_inclusive=False, max=366))
    deadline_s = fields.Float(validate=_SECONDS)
    lease_s = fields.Float(validate=_SECONDS)
    at_once = fields.Integer(strict=True, validate=validate.Range(min=1, max=1000))

    @validates_schema
    def check_lease(self, data: dict[str, Any], **_: Any) -> None:
        """A command must not be claimed again while it is being delivered."""
        usual = CommandSettings()
        lease_s = data.get("lease_s", usual.lease_s)
        deadline_s = data.get("deadline_s", usual.deadline_s)
        if lease_s <= 2 * deadline_s:
            raise ValidationError(
                "must be longer than two deadlines (commands.deadline_s)", "lease_s"
            )
