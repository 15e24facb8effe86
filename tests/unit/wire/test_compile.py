"""What the compiler takes, and that it refuses the rest at start."""

from contextlib import nullcontext
from typing import Any

import msgspec
import pytest
from marshmallow import EXCLUDE, RAISE, Schema, fields, post_load, validate

from gateway.wire.compile import Compiled, NotCompilableError
from gateway.wire.schemas.blocks import OneOfKinds, WireSchema, kind, listed, nested, variants
from gateway.wire.schemas.fields import Duration, Instant, Whole
from gateway.wire.schemas.request import ExecutionRequestSchema
from gateway.wire.schemas.session import OfferSetSchema, SessionSchema
from gateway.wire.schemas.update import UpdateSchema


class Leaf(WireSchema):
    at = Instant(allow_none=True)


class Required(WireSchema):
    name = fields.String(required=True)
    at = Instant(allow_none=True)


class Tree(WireSchema):
    leaf = nested(Leaf())
    leaves = listed(Leaf())
    required = nested(Required())
    word = fields.String()


class Alone(OneOfKinds):
    class Variant(WireSchema):
        kind = kind("urn:a")

    type_schemas = variants(Variant())


class Hooked(WireSchema):
    @post_load
    def change(self, data: Any, **_: Any) -> Any:
        return data


class Renamed(WireSchema):
    name = fields.String(data_key="other")


class Closed(Schema):
    class Meta:
        unknown = RAISE

    name = fields.String()


class Excluding(Schema):
    class Meta:
        unknown = EXCLUDE

    name = fields.String()


class ByClass(OneOfKinds):
    type_schemas = {"urn:a": Leaf}  # noqa: RUF012 - as a careless author would


def test_the_schemas_of_answers_and_updates_compile() -> None:
    for schema in (SessionSchema(), OfferSetSchema(), UpdateSchema()):
        Compiled(schema)


def of(**members: Any) -> Schema:
    return WireSchema.from_dict(members)()


@pytest.mark.parametrize(
    "schema",
    [
        ExecutionRequestSchema(),
        Hooked(),
        Renamed(),
        ByClass(),
        of(a=fields.Email()),
        of(a=fields.String(validate=validate.Length(max=3))),
        of(a=Whole(validate=validate.Range(min=0, min_inclusive=False))),
        of(a=Whole(validate=lambda _: None)),
        of(a=fields.List(fields.Email())),
        of(a=fields.Nested(Leaf(), many=True)),
    ],
)
def test_what_cannot_be_compiled_is_refused_at_start(schema: Schema) -> None:
    with pytest.raises(NotCompilableError):
        Compiled(schema)


GOOD = "2026-08-03T09:00:00Z"


@pytest.mark.parametrize(
    "place",
    [
        '{"leaf": {"at": %s}}',
        '{"leaves": [{}, {"at": %s}]}',
        '{"required": {"name": "", "at": %s}}',
    ],
)
@pytest.mark.parametrize(
    ("time", "is_good"),
    [
        (f'"{GOOD}"', True),
        (f'"{GOOD[:-1]}.{"0" * 70}Z"', True),
        ("null", True),
        (f'"{GOOD.lower()}"', False),
        ('"2026-02-30T09:00:00Z"', False),
        ("1", False),
        ("[1]", False),
    ],
)
def test_times_are_judged_everywhere_and_each_time(place: str, time: str, is_good: bool) -> None:
    compiled = Compiled(Tree())
    for _ in range(2):
        with nullcontext() if is_good else pytest.raises(msgspec.ValidationError, match="at"):
            compiled.decode((place % time).encode())


def test_a_time_of_one_sort_is_not_taken_for_another() -> None:
    compiled = Compiled(of(at=Instant(), lasts=Duration()))
    compiled.decode(b'{"at": "2026-08-03T09:00:00Z", "lasts": "PT5M"}')
    with pytest.raises(msgspec.ValidationError):
        compiled.decode(b'{"at": "PT5M"}')


def test_a_lone_variant_still_needs_its_kind() -> None:
    compiled = Compiled(Alone())
    assert compiled.decode(b'{"kind": "urn:a"}').kind == "urn:a"
    for text in (b"{}", b'{"kind": "urn:b"}', b'{"kind": null}'):
        with pytest.raises(msgspec.ValidationError):
            compiled.decode(text)


def test_members_that_may_not_be_null_are_not() -> None:
    with pytest.raises(msgspec.ValidationError):
        Compiled(Tree()).decode(b'{"word": null}')


def test_unknown_members_are_refused_only_where_the_schema_says_so() -> None:
    assert Compiled(Excluding()).decode(b'{"x": 1}').name is None
    with pytest.raises(msgspec.ValidationError):
        Compiled(Closed()).decode(b'{"x": 1}')
