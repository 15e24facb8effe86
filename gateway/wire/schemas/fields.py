"""Fields that take JSON values as they are: nothing is converted, since documents are carried.

The unused arguments are those of marshmallow's method, which passes them all.
"""

import math
import re
from datetime import datetime
from typing import Any, Final

from marshmallow import Schema, ValidationError, fields, validate
from marshmallow_oneofschema.one_of_schema import OneOfSchema

from gateway.wire.times import (
    DURATION_PATTERN,
    INSTANT_PATTERN,
    INTERVAL_PATTERN,
    LOOSE_INSTANT_PATTERN,
    REQUESTED_START_PATTERN,
    TimeSyntaxError,
    parse_daily,
)

INT32: Final = validate.Range(min=-(2**31), max=2**31 - 1)
"""Range of ``format: int32``."""

INT64: Final = validate.Range(min=-(2**63), max=2**63 - 1)
"""Range of ``format: int64``."""

UUID_PATTERN: Final = (
    "^(?:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|[0-9a-fA-F]{32})$(?!\n)"  # in Python alone, $ is also before a newline at the end
)
"""A UUID as RFC 9562 writes it, or its digits alone, which the public client takes too."""


class Whole(fields.Integer):
    """A JSON integer: no text, no fraction (not even ``2.0``), no boolean."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("validate", INT64)
        super().__init__(strict=True, **kwargs)


class Number(fields.Float):
    """A JSON number: no text, no boolean, no NaN."""

    def _validated(self, value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        number = super()._validated(value)
        # Carried as it is: 1 stays 1 and does not become 1.0.
        return value if math.isfinite(number) else number


class Flag(fields.Boolean):
    """A JSON boolean: no text, no number."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:  # noqa: ARG002
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


def _on_the_calendar(text: str) -> None:
    """Refuse the 30th of February, which no pattern can."""
    if not re.match(INSTANT_PATTERN, text):
        return
    try:
        datetime.fromisoformat(text[: len("2026-08-03T09:00:00")])
    except ValueError as error:
        raise ValidationError("Not on the calendar.") from error


class _Pattern(fields.String):
    """Text of one form, staying text."""

    pattern: str
    example: str

    def __init__(self, **kwargs: Any) -> None:
        check = validate.Regexp(self.pattern, error=f"Not {self.example}.")
        super().__init__(validate=check, **kwargs)


class UuidText(_Pattern):
    """A UUID."""

    pattern = UUID_PATTERN
    example = "a UUID"


class Instant(_Pattern):
    """An ISO 8601 instant with time zone."""

    pattern = INSTANT_PATTERN
    example = "an ISO 8601 instant with time zone, such as 2026-08-03T09:00:00Z"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validators.append(_on_the_calendar)


class LooseInstant(_Pattern):
    """An ISO 8601 instant that may leave out its zone when it has a fraction."""

    pattern = LOOSE_INSTANT_PATTERN
    example = Instant.example


class Duration(_Pattern):
    """An ISO 8601 duration. Years and months pass here; whoever needs a length refuses them."""

    pattern = DURATION_PATTERN
    example = "an ISO 8601 duration such as PT90M"


class IntervalText(_Pattern):
    """An ISO 8601 interval: ``start/end``, ``start/duration`` or ``duration/end``."""

    pattern = INTERVAL_PATTERN
    example = "an ISO 8601 interval such as 2026-08-03T09:00:00Z/PT1H"


class Start(fields.Field[Any]):
    """When to start: an interval, a lone instant, or a list of them."""

    _check = validate.Regexp(
        REQUESTED_START_PATTERN,
        error="Not an ISO 8601 interval or instant such as 2026-08-03T09:00:00Z/PT1H.",
    )

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        if isinstance(value, str):
            return self._check(value)
        if not isinstance(value, list):
            raise ValidationError("Not an interval or a list of intervals.")
        faults: dict[str | int, list[Any]] = {}
        for index, item in enumerate(value):
            if not isinstance(item, str):
                faults[index] = ["Not a valid string."]
                continue
            try:
                self._check(item)
            except ValidationError as error:
                faults[index] = list(error.messages)
        if faults:
            raise ValidationError(dict(faults))
        return value


class Daily(fields.Field[Any]):
    """The hours of the day to start in: ``{start, end, timezone}``."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        if not isinstance(value, dict):
            raise ValidationError("Not an object of start, end and timezone.")
        try:
            parse_daily(value)
        except TimeSyntaxError as error:
            raise ValidationError(str(error)) from error
        return value


class StringMap(fields.Dict):
    """An object whose values are all strings."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(keys=fields.String(), values=fields.String(), **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        # marshmallow would put "key" and "value" between the name and the text of a fault.
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        faults: dict[str, Any] = {
            name: ["Not a valid string."]
            for name, item in value.items()
            if not isinstance(item, str)
        }
        if faults:
            raise ValidationError(faults)
        return value


class KindSchema(OneOfSchema):
    """One of several schemas, by the member ``kind``; it stays in the document.

    With ``is_open`` a kind that is not known passes unread. A missing kind never does.
    """

    type_field = "kind"
    type_field_remove = False
    is_open = False

    def get_obj_type(self, obj: Any) -> str:
        """The kind of a document that is written."""
        return str(obj["kind"])

    def _load(self, data: Any, *, partial: Any = None, unknown: Any = None, **_kwargs: Any) -> Any:
        if not isinstance(data, dict):
            raise ValidationError({"_schema": ["Invalid input type."]})
        kind = data.get("kind")
        if kind is None:
            raise ValidationError({"kind": ["Missing data for required field."]})
        if not isinstance(kind, str):
            raise ValidationError({"kind": ["Not a valid string."]})
        variant = self.type_schemas.get(kind)
        if isinstance(variant, Schema):
            return variant.load(data, many=False, partial=partial, unknown=unknown)
        if self.is_open:
            return data
        raise ValidationError({"kind": [f"Unknown kind {kind[:200]!r}."]})
