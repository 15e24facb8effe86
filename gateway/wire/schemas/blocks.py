"""What schemas are built from: optional members, open objects, variants by kind.

All optional members may be null, which the public client takes as absent.
"""

from typing import Any

from marshmallow import INCLUDE, Schema, fields, validate

from gateway.wire.schemas.fields import KindSchema, Whole


def text(**kwargs: Any) -> fields.String:
    """An optional string."""
    return fields.String(allow_none=True, **kwargs)


def one_of(*choices: str) -> fields.String:
    """An optional string out of an enum."""
    # Plain strings: enum members would show in the OpenAPI document as what they are.
    return fields.String(validate=validate.OneOf([str(c) for c in choices]), allow_none=True)


def kind(uri: str) -> fields.String:
    """The member that says which variant this is."""
    return fields.String(required=True, validate=validate.OneOf([uri]))


def nested(schema: Schema) -> fields.Nested:
    """An optional object."""
    return fields.Nested(schema, allow_none=True)


def listed(item: "Schema | fields.Field[Any]") -> "fields.List[Any]":
    """An optional list."""
    inner = fields.Nested(item) if isinstance(item, Schema) else item
    return fields.List(inner, allow_none=True)


class WireSchema(Schema):
    """Members that are not known are kept."""

    class Meta:
        """Promise: what is not understood is carried."""

        unknown = INCLUDE


class OneOfKinds(KindSchema):
    """A component by its kind."""

    class Meta:
        """Promise: what is not understood is carried."""

        unknown = INCLUDE


def variants(*schemas: WireSchema) -> dict[str, WireSchema]:
    """The schemas, each under the kind that it declares."""
    found = {}
    for schema in schemas:
        (check,) = schema.fields["kind"].validators
        assert isinstance(check, validate.OneOf)
        found.update(dict.fromkeys(check.choices, schema))
    return found


class MinMaxSchema(WireSchema):
    """Least and most, in whole units."""

    min = Whole(allow_none=True)
    max = Whole(allow_none=True)
