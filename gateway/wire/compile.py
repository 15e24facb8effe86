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

_CACHED: Final = 8192
"""Times known to be good, 1 MB of them."""

_LONGEST_CACHED: Final = 64
"""Longer texts are judged anew each time: a node may not fill the memory with them."""


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


def _judge(kind: type[_Judged], text: str) -> _Judged:
    try:
        for check in kind.field.validators:
            check(text)
    except ValidationError as error:
        # What the decoder takes for a fault of the document, and says where it is.
        raise ValueError(f"{text[:80]!r}: {error.messages[0]}") from error
    return kind(text)


_judge_cached: Final = lru_cache(_CACHED)(_judge)


def _judged(kind: type[_Judged], value: object) -> _Judged:
    """What the decoder calls for every value that should be a time."""
    if not isinstance(value, str):
        message = f"Expected `str`, got `{type(value).__name__}`"
        raise ValueError(message)  # noqa: TRY004  # a TypeError would be a defect
    return (_judge_cached if len(value) <= _LONGEST_CACHED else _judge)(kind, value)


_SCALARS: Final[dict[type, Any]] = {
    fields.String: str,
    Whole: int,
    Number: float,
    Flag: bool,
    UuidText: UUID,
    Instant: _Instant,
    Duration: _Duration,
    IntervalText: _Interval,
    StringMap: dict[str, str],
}
_CHECKED: Final = frozenset({UuidText, Instant, Duration, IntervalText, StringMap})
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
    """Makes the struct types of schemas; closed ones refuse members that are not in the schema."""

    def __init__(self, *, is_closed: bool) -> None:
        self._is_closed = is_closed

    def of(self, schema: Schema) -> Any:
        """The struct type, or the union of one for each kind."""
        if not isinstance(schema, KindSchema):
            return self._struct(schema)
        if schema.is_open:
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
        """The struct type of one schema; what may be absent then reads as None."""
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
        structs = (_Structs(is_closed=is_closed).of(schema) for is_closed in (False, True))
        self._open, self._closed = (
            msgspec.json.Decoder(struct, dec_hook=_judged) for struct in structs
        )

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
            As above, or there is a member that the schema does not name.
        UnicodeDecodeError
            It is not UTF-8.
        """
        return self._closed.decode(text)
