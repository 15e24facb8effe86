"""Schemas of what every component has: metadata, messages, options, costs, metrics, schedule.

Field names, requiredness and enums are those of the public OpenAPI document.

Every component has two schemas. The plain one is strict about kinds, as clients are with answers.
The ``Requested…`` one lets kinds pass that are not known here: somebody further on may know them.
"""

from marshmallow import fields

from gateway.wire import kinds
from gateway.wire.phases import ComponentPhase, MessageLevel
from gateway.wire.schemas.blocks import (
    OneOfKinds,
    WireSchema,
    kind,
    listed,
    nested,
    one_of,
    text,
    variants,
)
from gateway.wire.schemas.fields import (
    Duration,
    Instant,
    IntervalText,
    LooseInstant,
    Number,
    StringMap,
    UuidText,
    Whole,
)


class MessageSchema(WireSchema):
    """A log entry for the client."""

    kind = text()
    time = Instant(allow_none=True)
    level = one_of(*MessageLevel)
    template = text()
    values = StringMap(allow_none=True)
    message = text()


class _OptionSchema(WireSchema):
    path = fields.String(required=True)


class StringOptionSchema(_OptionSchema):
    """A string that may be set."""

    kind = kind(kinds.STRING_OPTION)
    pattern = text()


class EnumOptionSchema(_OptionSchema):
    """A value that may be chosen."""

    kind = kind(kinds.ENUM_OPTION)
    values = fields.List(fields.String(), required=True)


class IntegerOptionSchema(_OptionSchema):
    """A number that may be set."""

    kind = kind(kinds.INTEGER_OPTION)
    min = Whole(allow_none=True)
    max = Whole(allow_none=True)
    units = text()


class DeltaOptionSchema(_OptionSchema):
    """A number that may be changed by so much."""

    kind = kind(kinds.DELTA_OPTION)
    min = Whole(allow_none=True)
    max = Whole(allow_none=True)
    units = text()


class OptionSchema(OneOfKinds):
    """A change the client may ask for."""

    type_schemas = variants(
        StringOptionSchema(), EnumOptionSchema(), IntegerOptionSchema(), DeltaOptionSchema()
    )


class _CommonMetaSchema(WireSchema):
    name = text()
    url = text()
    description = text()
    created = Instant(allow_none=True)
    modified = Instant(allow_none=True)
    messages = listed(MessageSchema())
    options = listed(OptionSchema())


class MetaSchema(_CommonMetaSchema):
    """Who and when of a component."""

    uuid = UuidText(allow_none=True)


class RequestedMetaSchema(_CommonMetaSchema):
    """The same in a request, where the UUID is any text: services give their own."""

    uuid = text()


class _QuoteSchema(WireSchema):
    type = text()
    description = text()


class AbstractCostSchema(_QuoteSchema):
    """A cost of which only the meaning is given."""

    kind = kind(kinds.ABSTRACT_COST)


class MinMaxCostSchema(_QuoteSchema):
    """Least and most that something costs, in the unit of its type."""

    kind = kind(kinds.MINMAX_COST)
    min = Number(allow_none=True)
    max = Number(allow_none=True)


class CostSchema(OneOfKinds):
    """A cost in an answer: the abstract kind breaks the public client."""

    type_schemas = variants(MinMaxCostSchema())


class RequestedCostSchema(OneOfKinds):
    """A limit on a cost."""

    is_open = True
    type_schemas = variants(AbstractCostSchema(), MinMaxCostSchema())


class AbstractMetricSchema(_QuoteSchema):
    """A metric of which only the meaning is given."""

    kind = kind(kinds.ABSTRACT_METRIC)


class MinMaxMetricSchema(_QuoteSchema):
    """Least and most of what is measured, in the unit of its type."""

    kind = kind(kinds.MINMAX_METRIC)
    min = Number(allow_none=True)
    max = Number(allow_none=True)


class MetricSchema(OneOfKinds):
    """A metric in an answer: the abstract kind breaks the public client."""

    type_schemas = variants(MinMaxMetricSchema())


class RequestedMetricSchema(OneOfKinds):
    """A limit on a metric."""

    is_open = True
    type_schemas = variants(AbstractMetricSchema(), MinMaxMetricSchema())


class InstantStageSchema(WireSchema):
    """When a stage starts and how long it takes."""

    start = Instant(allow_none=True)
    duration = Duration(allow_none=True)


class IntervalStageSchema(WireSchema):
    """Between when and when a stage may start and how long it takes."""

    start = IntervalText(allow_none=True)
    duration = Duration(allow_none=True)


class ScheduleSchema(WireSchema):
    """The stages of a session or component."""

    preparing = nested(InstantStageSchema())
    available = nested(IntervalStageSchema())
    releasing = nested(InstantStageSchema())


class RequestedInstantStageSchema(WireSchema):
    """When a stage starts and how long it takes, as a client may write it."""

    start = LooseInstant(allow_none=True)
    duration = Duration(allow_none=True)


class RequestedStagesSchema(WireSchema):
    """The stages of a component in a request."""

    preparing = nested(RequestedInstantStageSchema())
    available = nested(IntervalStageSchema())
    releasing = nested(RequestedInstantStageSchema())


class ComponentSchema(WireSchema):
    """What every component has beside its kind."""

    meta = nested(MetaSchema())
    costs = listed(CostSchema())
    metrics = listed(MetricSchema())


class LifecycleSchema(ComponentSchema):
    """What every component with a lifecycle has."""

    phase = one_of(*ComponentPhase)
    schedule = nested(ScheduleSchema())


class Requested:
    """Mixed into a component schema, makes it the schema for requests."""

    meta = nested(RequestedMetaSchema())
    costs = listed(RequestedCostSchema())
    metrics = listed(RequestedMetricSchema())


class RequestedLifecycle(Requested):
    """The same for components with a lifecycle."""

    schedule = nested(RequestedStagesSchema())
