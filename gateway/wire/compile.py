"""A marshmallow schema compiled to a typed decoder of JSON, some fifty times as fast.

The decoder is never laxer than the schema. What it cannot say it refuses to compile, at start.
Times are decoded as text and checked together afterwards (:mod:`gateway.wire.timecheck`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Annotated, Any, Final, Literal, TypeAlias, Union
from uuid import UUID

import msgspec
from marshmallow import RAISE, Schema, fields, validate

from gateway.wire.schemas.fields import (
    Duration,
    Flag,
    Instant,
    IntervalText,
    KindSchema,
    Number,
    StringMap,
    UuidText,
    Whole,
)

_SCALARS: Final[dict[type, Any]] = {
    fields.String: str,
    Whole: int,
    Number: float,
    Flag: bool,
    UuidText: UUID,
    Instant: str,
    Duration: str,
    IntervalText: str,
    StringMap: dict[str, str],
}
_TIMES: Final[dict[type, str]] = {
    Instant: "instants",
    Duration: "durations",
    IntervalText: "intervals",
}
_HOOKS: Final = ("pre_load", "post_load", "validates", "validates_schema")

_Getter: TypeAlias = Callable[[Any], tuple[Any, ...]]


class NotCompilableError(TypeError):
    """A schema has something in it that the decoder cannot say."""


@dataclass(slots=True)
class TimeTexts:
    """Every time in a decoded object, by what it should be. None where a member is absent."""

    instants: list[str | None] = field(default_factory=list)
    durations: list[str | None] = field(default_factory=list)
    intervals: list[str | None] = field(default_factory=list)


@dataclass(slots=True)
class _Shape:
    """What is known of one struct type while it is made."""

    struct: Any
    times: dict[str, list[str]] = field(default_factory=dict)
    lists: list[tuple[str, list["_Shape"]]] = field(default_factory=list)
    ones: list[tuple[str, list["_Shape"]]] = field(default_factory=list)
    can_be_empty: bool = True


class _Collector:
    """Takes the times out of one struct type and what is below it."""

    __slots__ = ("_durations", "_intervals", "_lists", "_ones", "_own")

    def __init__(self, shape: _Shape) -> None:
        instants, durations, intervals = (shape.times.get(name, []) for name in _TIMES.values())
        names = [*instants, *durations, *intervals]
        # With the last twice it gives a tuple even for one name.
        self._own: _Getter | None = attrgetter(*names, names[-1]) if names else None
        self._durations = slice(len(instants), len(instants) + len(durations))
        self._intervals = slice(self._durations.stop, len(names))
        self._ones = [(attrgetter(name), _collectors(below)) for name, below in shape.ones]
        self._lists = [(attrgetter(name), _collectors(below)) for name, below in shape.lists]
        self._ones = [(getter, below) for getter, below in self._ones if below]
        self._lists = [(getter, below) for getter, below in self._lists if below]

    def has_work(self) -> bool:
        """Whether there can be any time at all."""
        return bool(self._own or self._ones or self._lists)

    def collect(self, item: Any, into: TimeTexts) -> None:
        """Add the times of ``item``.

        Raises
        ------
        AttributeError
            A nested object is null. To ask each time would double the cost.
        """
        if self._own is not None:
            found = self._own(item)
            into.instants += found[: self._durations.start]
            into.durations += found[self._durations]
            into.intervals += found[self._intervals]
        for one, collectors in self._ones:
            if (below := one(item)) is not None:
                collectors[type(below)].collect(below, into)
        for many, collectors in self._lists:
            for below in many(item) or ():
                collectors[type(below)].collect(below, into)


def _collectors(shapes: list[_Shape]) -> dict[type, _Collector]:
    found = {shape.struct: _Collector(shape) for shape in shapes}
    return found if any(collector.has_work() for collector in found.values()) else {}


def _scalar_type(declared: "fields.Field[Any]") -> Any:
    kind = type(declared)
    if kind in _TIMES or kind is UuidText or kind is StringMap:
        # These classes carry their own checks, which the decoder or the time check repeats.
        return _SCALARS[kind]
    result = _SCALARS[kind]
    for check in declared.validators:
        if isinstance(check, validate.OneOf) and kind is fields.String:
            result = Literal[tuple(check.choices)]
        elif isinstance(check, validate.Range) and kind is Whole:
            if not (check.min_inclusive and check.max_inclusive):
                raise NotCompilableError(f"an open range: {check!r}")
            result = Annotated[result, msgspec.Meta(ge=check.min, le=check.max)]
        else:
            raise NotCompilableError(f"the validator {check!r} on {kind.__name__}")
    return result


def _shapes_below(declared: Any) -> list[_Shape]:
    """The shapes that a nested field can have: one, or one for each kind."""
    schema = declared.schema
    if declared.many:
        raise NotCompilableError("a nested field with many: use a list")
    if not isinstance(schema, KindSchema):
        return [_shape_of(schema)]
    if schema.is_open:
        raise NotCompilableError(f"{type(schema).__name__} is open to unknown kinds")
    return list(_variants(schema))


def _variants(schema: KindSchema) -> Iterator[_Shape]:
    # msgspec lets a lone struct do without its tag, so there the kind is an ordinary member.
    is_union = len(schema.type_schemas) > 1
    for kind, variant in schema.type_schemas.items():
        if not isinstance(variant, Schema):
            raise NotCompilableError(f"the variant {kind} is a class: give an instance")
        yield _shape_of(variant, schema.type_field, kind) if is_union else _shape_of(variant)


def _union(shapes: Iterable[_Shape]) -> Any:
    # By subscription, since the members are only known at run time.
    return Union[tuple(shape.struct for shape in shapes)]  # noqa: UP007


def _member(shape: _Shape, name: str, declared: "fields.Field[Any]") -> tuple[Any, Any]:
    """Type and default of one member; notes in ``shape`` where its times are."""
    if isinstance(declared, fields.Nested):
        below = _shapes_below(declared)
        if isinstance(declared.schema, KindSchema) or not below[0].can_be_empty:
            shape.ones.append((name, below))
            return _union(below), None
        # An absent object reads as an empty one, so that attribute paths lead somewhere.
        (inner,) = below
        for kind, paths in inner.times.items():
            shape.times.setdefault(kind, []).extend(f"{name}.{path}" for path in paths)
        shape.ones.extend((f"{name}.{path}", shapes) for path, shapes in inner.ones)
        shape.lists.extend((f"{name}.{path}", shapes) for path, shapes in inner.lists)
        return inner.struct, inner.struct()
    if isinstance(declared, fields.List):
        if isinstance(declared.inner, fields.Nested):
            below = _shapes_below(declared.inner)
            shape.lists.append((name, below))
            return list[_union(below)], None  # type: ignore[misc]  # a type made at run time
        if type(declared.inner) in _TIMES or type(declared.inner) not in _SCALARS:
            raise NotCompilableError(f"a list of {type(declared.inner).__name__}")
        return list[_scalar_type(declared.inner)], None  # type: ignore[misc]  # likewise
    if type(declared) not in _SCALARS:
        raise NotCompilableError(f"{type(declared).__name__} ({name})")
    if type(declared) in _TIMES:
        shape.times.setdefault(_TIMES[type(declared)], []).append(name)
    return _scalar_type(declared), None


def _shape_of(schema: Schema, tag_field: str | None = None, tag: str | None = None) -> _Shape:
    """The struct type of a schema, and where its times are."""
    name = type(schema).__name__
    if any(schema._hooks.get(hook) for hook in _HOOKS):  # noqa: SLF001 - there is no public way
        raise NotCompilableError(f"{name} has hooks")
    shape = _Shape(None)
    members: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for member, declared in schema.load_fields.items():
        if member == tag_field:
            continue
        if declared.data_key not in (None, member):
            raise NotCompilableError(f"{name}.{member} goes by another name in the document")
        kind, default = _member(shape, member, declared)
        kind = kind | None if declared.allow_none else kind
        if declared.required:
            shape.can_be_empty = False
            members.append((member, kind))
        else:
            members.append((member, kind, default))
    shape.struct = msgspec.defstruct(
        name.removesuffix("Schema"),
        members,
        kw_only=True,
        frozen=True,
        gc=False,
        forbid_unknown_fields=schema.unknown == RAISE,
        tag_field=tag_field,
        tag=tag,
    )
    return shape


class Compiled:
    """The decoder of one schema.

    Raises
    ------
    NotCompilableError
        At construction: the schema cannot be compiled.
    """

    def __init__(self, schema: Schema) -> None:
        shapes = list(_variants(schema)) if isinstance(schema, KindSchema) else [_shape_of(schema)]
        self._decoder = msgspec.json.Decoder(_union(shapes))
        self._collectors = _collectors(shapes)

    def decode(self, text: bytes) -> Any:
        """The struct that JSON text says; its times are still to be checked.

        Raises
        ------
        msgspec.DecodeError
            It is not JSON or not as the schema says.
        RecursionError
            It is nested too deep.
        """
        return self._decoder.decode(text)

    def times(self, decoded: Any) -> TimeTexts:
        """Every time in it.

        Raises
        ------
        AttributeError
            A nested object is null: decode it again without.
        """
        found = TimeTexts()
        if self._collectors:
            self._collectors[type(decoded)].collect(decoded, found)
        return found
