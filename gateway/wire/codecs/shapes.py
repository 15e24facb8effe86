"""Shapes: what the schemas say of each value's type, for codecs whose text does not.

A shape is a hint, never a rule: a value of another type is written with its type beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from marshmallow import Schema, fields

from gateway.wire.schemas.fields import Daily, Flag, KindSchema, Number, Whole

Shape: TypeAlias = "str | ListShape | ObjectShape | KindShape | MapShape"
"""A scalar is one of ``string``, ``integer``, ``number``, ``boolean``."""

STRING: Final = "string"
"""What a value is if nothing is known."""

ITEM_NAMES: Final[Mapping[str, str]] = {
    "offers": "execution",
    "costs": "cost",
    "metrics": "metric",
    "messages": "message",
    "options": "option",
    "volumes": "volume",
    "connectors": "connector",
    "storage": "storage",
    "data": "data",
}
"""Names of list items by the name of the list, after the ``xml`` notes of the OpenAPI document."""


@dataclass(frozen=True, slots=True)
class ListShape:
    """A list of items of one shape."""

    item: Shape


@dataclass(frozen=True, slots=True)
class MapShape:
    """An object whose names are data; its values are strings."""


@dataclass(frozen=True, slots=True)
class ObjectShape:
    """An object with known members; ``has_kind`` if one of them says which kind it is."""

    members: Mapping[str, Shape] = field(default_factory=dict)
    has_kind: bool = False


@dataclass(frozen=True, slots=True)
class KindShape:
    """An object whose members depend on its kind; ``common`` are those that all kinds have."""

    kinds: Mapping[str, ObjectShape]
    common: ObjectShape

    def of(self, kind: object) -> ObjectShape:
        """The shape of an object of this kind."""
        return self.kinds.get(kind, self.common) if isinstance(kind, str) else self.common


def _field_shape(declared: "fields.Field[object]") -> Shape:
    if isinstance(declared, fields.Nested):
        return shape_of(declared.schema)
    if isinstance(declared, fields.List):
        return ListShape(_field_shape(declared.inner))
    if isinstance(declared, fields.Dict):
        return MapShape()
    if isinstance(declared, Daily):
        return ObjectShape()
    scalars = ((Whole, "integer"), (Number, "number"), (Flag, "boolean"))
    return next((name for kind, name in scalars if isinstance(declared, kind)), STRING)


def shape_of(schema: Schema) -> Shape:
    """The shape of the documents that a schema describes."""
    if isinstance(schema, KindSchema):
        variants = {
            kind: ObjectShape(shape.members, has_kind=True)
            for kind, variant in schema.type_schemas.items()
            if isinstance(variant, Schema) and isinstance(shape := shape_of(variant), ObjectShape)
        }
        first, *others = variants.values()
        common = {
            name: shape
            for name, shape in first.members.items()
            if all(other.members.get(name) == shape for other in others)
        }
        return KindShape(variants, ObjectShape(common, has_kind=True))
    return ObjectShape(
        {name: _field_shape(declared) for name, declared in schema.fields.items()},
        has_kind="kind" in schema.fields,
    )
