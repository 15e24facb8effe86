"""How the settings file says who may be told of events, and where."""

from typing import ClassVar, Final

from marshmallow import ValidationError, fields, validate

from gateway.httpkit.settings import SettingsSchema
from gateway.sealing import Sealer
from gateway.settings import EventSettings, WebhookSettings
from gateway.wire.secret import Secret

_SECONDS: Final = validate.Range(min=0.05, max=86_400)
_ORIGIN: Final = validate.Regexp(
    r"(?:https?://)?(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
    r"(?::[0-9]{1,5})?\Z",
    error="must be a host, host:port, or one of these behind http://",
)


def check_secret_key(secret: Secret) -> None:
    """Refuse a key that could be guessed.

    Raises
    ------
    ValidationError
    """
    try:
        Sealer(secret.reveal())
    except ValueError as error:
        raise ValidationError(str(error)) from error


class EventsSchema(SettingsSchema):
    """The section ``events``."""

    settings_class: ClassVar[type] = EventSettings

    streams = fields.Integer(strict=True, validate=validate.Range(min=1, max=100_000))
    streams_per_owner = fields.Integer(strict=True, validate=validate.Range(min=1, max=100_000))
    stream_s = fields.Float(validate=validate.Range(min=1, max=86_400))


class WebhooksSchema(SettingsSchema):
    """The section ``webhooks``."""

    settings_class: ClassVar[type] = WebhookSettings

    allow = fields.List(fields.String(validate=_ORIGIN))
    allow_private = fields.Boolean(truthy={True}, falsy={False})
    per_owner = fields.Integer(strict=True, validate=validate.Range(min=1, max=1000))
    deadline_s = fields.Float(validate=validate.Range(min=0.05, max=60))
    first_s = fields.Float(validate=_SECONDS)
    longest_s = fields.Float(validate=_SECONDS)
    give_up_s = fields.Float(validate=validate.Range(min=1, max=31 * 86_400))
    at_once = fields.Integer(strict=True, validate=validate.Range(min=1, max=1000))
