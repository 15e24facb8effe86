"""Schemas of identities."""

from marshmallow import fields

from gateway.wire.schemas.blocks import WireSchema
from gateway.wire.schemas.fields import UuidText


class IdentityRequestSchema(WireSchema):
    """An identity to be made. That neither is blank is for the service to say."""

    username = fields.String(required=True)
    password = fields.String(required=True, load_only=True)


class IdentitySchema(WireSchema):
    """An identity as it is shown."""

    uuid = UuidText(required=True)
    username = fields.String(required=True)
