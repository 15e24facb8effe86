"""Schemas of updates: what a client asks to be changed."""

from marshmallow import fields

from gateway.wire import kinds
from gateway.wire.schemas.blocks import OneOfKinds, WireSchema, kind, text, variants
from gateway.wire.schemas.fields import Whole


class _UpdateFields(WireSchema):
    path = fields.String(required=True)


class StringUpdateSchema(_UpdateFields):
    """Set a string."""

    kind = kind(kinds.STRING_UPDATE)
    value = fields.String(required=True)


class EnumUpdateSchema(_UpdateFields):
    """Choose a value."""

    kind = kind(kinds.ENUM_UPDATE)
    value = fields.String(required=True)


class IntegerUpdateSchema(_UpdateFields):
    """Set a number."""

    kind = kind(kinds.INTEGER_UPDATE)
    value = Whole(required=True)
    units = text()


class DeltaUpdateSchema(_UpdateFields):
    """Change a number by so much."""

    kind = kind(kinds.DELTA_UPDATE)
    delta = Whole(required=True)
    units = text()


class UpdateSchema(OneOfKinds):
    """The change asked for."""

    type_schemas = variants(
        StringUpdateSchema(), EnumUpdateSchema(), IntegerUpdateSchema(), DeltaUpdateSchema()
    )
