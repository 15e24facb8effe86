"""How the settings file says who may register nodes, and how long that holds."""

from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, validate, validates_schema

from gateway.domain.node_urls import fault_in_url
from gateway.httpkit.settings import SettingsSchema
from gateway.settings import RegistrationSettings

_SECONDS: Final = validate.Range(min=0, min_inclusive=False, max=86_400)
_MONTH_S: Final = 31 * 86_400


def check_node_url(url: str) -> None:
    """Refuse a URL that no node may have, such as one with a password in it.

    Raises
    ------
    ValidationError
    """
    fault = fault_in_url(url)
    if fault is not None:
        raise ValidationError(fault)


class RegistrationSchema(SettingsSchema):
    """The section ``registration``."""

    settings_class: ClassVar[type] = RegistrationSettings

    lease_s = fields.Float(validate=_SECONDS)
    renew_s = fields.Float(validate=_SECONDS)
    restart_grace_s = fields.Float(validate=validate.Range(min=0, max=86_400))
    groups = fields.List(fields.String(validate=validate.Length(min=1, max=255)))
    allow_private_addresses = fields.Boolean(truthy={True}, falsy={False})
    token_s = fields.Float(validate=validate.Range(min=1, max=_MONTH_S))

    @validates_schema
    def check_lease(self, data: dict[str, Any], **_: Any) -> None:
        """One lost renewal must not bring a node down."""
        usual = RegistrationSettings()
        renew_s = data.get("renew_s", usual.renew_s)
        if data.get("lease_s", usual.lease_s) < 2 * renew_s:
            raise ValidationError("must be twice registration.renew_s at least", "lease_s")
