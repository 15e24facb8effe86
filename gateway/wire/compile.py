"""A marshmallow schema compiled to a typed decoder of JSON, some fifty times as fast.

The decoder is never laxer than the schema. What it cannot say it refuses to compile, at start.
Times stay text. The validators of their fields judge them, each text once: answers are full of the
same ones.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final, Literal, Union
from uuid import UUID

import msgspec
from marshmallow import RAISE, Schema, ValidationError, fields, validate

from gateway.wire.schemas.fields import (
    Daily,
    Duration,
    Flag,
    Instant,
    IntervalText,
    KindSchema,
    LooseInstant,
    Number,
    Start,
    StringMap,
    UuidText,
    Whole,
)

_CACHED: Final = 8192
"""Times known to be good, 1 MB of them."""

_LONGEST_CACHED: Final = 64
"""Longer texts are left to the open decoder: a node may not fill the memory with them."""


class _Judged(str):
    """Text that has passed the validators of a field."""

    __slots__ = ()
    field: ClassVar["fields.Field[str]"]


class _Instant(_Judged):
    field = Instant()


class _Duration(_Judged):
    field = Duration()


class _Interval(_Judged):
    field = IntervalText()


class _LooseInstant(_Judged):
    field = LooseInstant()


class _Checked:
    """A value of any sort that its field has looked at. Nothing of it is kept."""

    __slots__ = ()
    field: ClassVar["fields.Field[Any]"]


class _Start(_Checked):
    field = Start()


class _Daily(_Checked):
    field = Daily()


def _judge(kind: type[_Judged], text: str) -> _Judged:
    try:
        for check in kind.field.validators:
            check(text)
    except ValidationError as error:
        # What the decoder takes for a fault of the document, and says where it is.
        raise ValueError(f"{text[:80]!r}: {error.messages[0]}") from error
    return kind(text)


def _judged(kind: type[_Judged | _Checked], value: object) -> _Judged | _Checked:
    """What the open decoder calls for every value that should be a time."""
    if issubclass(kind, _Checked):
        return _check(kind, value)
    if not isinstance(value, str):
        message = f"Expected `str`, got `{type(value).__name__}`"
        raise ValueError(message)  # noqa: TRY004  # a TypeError would be a defect
    return _judge(kind, value)


def _check(kind: type[_Checked], value: object) -> _Checked:
    try:
        kind.field.deserialize(value)
    except ValidationError as error:
        raise ValueError(str(error)) from error
    return kind()


@lru_cache(_CACHED)
def _judged_once(kind: type[_Judged | _Checked], value: object) -> _Judged | _Checked:
    """What the closed decoder calls: the cache itself, which is C's. Failures are not kept."""
    if isinstance(value, str) and len(value) > _LONGEST_CACHED:
        message = "Longer than is remembered"
        raise ValueError(message)
    return _judged(kind, value)


_SCALARS: Final[dict[type, Any]] = {
    fields.String: str,
    Whole: int,
    Number: float,
    Flag: bool,
    UuidText: UUID,
    Instant: _Instant,
    Duration: _Duration,
    IntervalText: _Interval,
    LooseInstant: _LooseInstant,
    Start: _Start,
    Daily: _Daily,
    StringMap: dict[str, str],
}
_CHECKED: Final = frozenset(
    {UuidText, Instant, Duration, IntervalText, LooseInstant, Start, Daily, StringMap}
)
"""Fields with checks of their own, which the decoder makes too."""

_HOOKS: Final = ("pre_load", "post_load", "validates", "validates_schema")


class NotCompilableError(TypeError):
    """A schema has something in it that the decoder cannot say."""


def _scalar_type(declared: "fields.Field[Any]") -> Any:
    kind = type(declared)
    if kind in _CHECKED:
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


def _union(structs: Iterable[Any]) -> Any:
    # By subscription, since the members are only known at run time.
    return Union[tuple(structs)]  # noqa: UP007


class _Structs:
    """Makes the struct types of schemas; closed ones refuse members that are not in the schema.

    ``knows_all``: kinds that an open schema lets pass unread are refused.
    """

    def __init__(self, *, is_closed: bool, knows_all: bool = False) -> None:
        self._is_closed = is_closed
        self._knows_all = knows_all
        self._made: dict[tuple[object, ...], Any] = {}

    def of(self, schema: Schema) -> Any:
        """The struct type, or the union of one for each kind."""
        if not isinstance(schema, KindSchema):
            return self._struct(schema)
        if schema.is_open and not self._knows_all:
            raise NotCompilableError(f"{type(schema).__name__} is open to unknown kinds")
        return _union(self._variants(schema))

    def _variants(self, schema: KindSchema) -> Iterator[Any]:
        # msgspec lets a lone struct do without its tag, so there the kind is an ordinary member.
        is_union = len(schema.type_schemas) > 1
        for kind, variant in schema.type_schemas.items():
            if not isinstance(variant, Schema):
                raise NotCompilableError(f"the variant {kind} is a class: give an instance")
            yield self._struct(variant, *((schema.type_field, kind) if is_union else ()))

    def _struct(self, schema: Schema, tag_field: str | None = None, tag: str | None = None) -> Any:
        """The struct type of one schema; what may be absent then reads as None.

        Instances of one class that take the same members share theirs.
        """
        taken = frozenset(schema.load_fields)
        key = (type(schema), taken, schema.unknown, tag_field, tag)
        if key not in self._made:
            self._made[key] = self._new_struct(schema, tag_field, tag)
        return self._made[key]

    def _new_struct(self, schema: Schema, tag_field: str | None, tag: str | None) -> Any:
        name = type(schema).__name__
        if any(schema._hooks.get(hook) for hook in _HOOKS):  # noqa: SLF001 - there is no public way
            raise NotCompilableError(f"{name} has hooks")
        members: list[tuple[str, Any] | tuple[str, Any, Any]] = []
        for member, declared in schema.load_fields.items():
            if member == tag_field:
                continue
            if declared.data_key not in (None, member):
                raise NotCompilableError(f"{name}.{member} goes by another name in the document")
            kind = self._member(member, declared)
            kind = kind | None if declared.allow_none else kind
            members.append((member, kind) if declared.required else (member, kind, None))
        return msgspec.defstruct(
            name.removesuffix("Schema"),
            members,
            kw_only=True,
            frozen=True,
            gc=False,
            forbid_unknown_fields=self._is_closed or schema.unknown == RAISE,
            tag_field=tag_field,
            tag=tag,
        )

    def _member(self, name: str, declared: "fields.Field[Any]") -> Any:
        if isinstance(declared, fields.Nested):
            return self._nested(declared)
        if isinstance(declared, fields.List):
            if isinstance(declared.inner, fields.Nested):
                return list[self._nested(declared.inner)]  # type: ignore[misc]  # made at run time
            if type(declared.inner) not in _SCALARS:
                raise NotCompilableError(f"a list of {type(declared.inner).__name__}")
            return list[_scalar_type(declared.inner)]  # type: ignore[misc]  # likewise
        if type(declared) not in _SCALARS:
            raise NotCompilableError(f"{type(declared).__name__} ({name})")
        return _scalar_type(declared)

    def _nested(self, declared: fields.Nested) -> Any:
        if declared.many:
            raise NotCompilableError("a nested field with many: use a list")
        schema = declared.schema
        assert isinstance(schema, Schema)
        return self.of(schema)


class Compiled:
    """The decoder of one schema.

    Raises
    ------
    NotCompilableError
        At construction: the schema cannot be compiled.
    """

    def __init__(self, schema: Schema) -> None:
        struct, closed = (_Structs(is_closed=is_closed).of(schema) for is_closed in (False, True))
        self._open = msgspec.json.Decoder(struct, dec_hook=_judged)
        self._closed = msgspec.json.Decoder(closed, dec_hook=_judged_once)

    def decode(self, text: bytes) -> Any:
        """The struct that JSON text says. What the schema does not name is passed over unread.

        Raises
        ------
        msgspec.DecodeError
            It is not JSON or not as the schema says.
        RecursionError
            It is nested too deep.
        """
        return self._open.decode(text)

    def decode_closed(self, text: bytes) -> Any:
        """The same of text in which the schema names everything, so that all of it is read.

        Raises
        ------
        msgspec.DecodeError
            As above, or there is a member that the schema does not name, or a very long time.
        UnicodeDecodeError
            It is not UTF-8.
        """
        return self._closed.decode(text)


class QuickCheck:
    """Finds most good documents good, at a hundredth of what the schema takes to say it.

    Raises
    ------
    NotCompilableError
        At construction: the schema cannot be compiled.
    """

    def __init__(self, schema: Schema) -> None:
        struct = _Structs(is_closed=False, knows_all=True).of(schema)
        self._decoder = msgspec.json.Decoder(struct, dec_hook=_judged)

    def passes(self, text: bytes) -> bool:
        """Whether JSON text is surely as the schema says; if not, ask the schema."""
        try:
            self._decoder.decode(text)
        except (ValueError, RecursionError):
            return False
        return True
