"""Schema of an ExecutionRequest."""

from gateway.wire.schemas.blocks import WireSchema, listed, nested
from gateway.wire.schemas.components import RequestedCostSchema, RequestedMetricSchema
from gateway.wire.schemas.data import RequestedDataSchema
from gateway.wire.schemas.executable import RequestedExecutableSchema
from gateway.wire.schemas.fields import Daily, Duration, Start
from gateway.wire.schemas.resources import RequestedComputeSchema, RequestedStorageSchema


class RequestedTimeSchema(WireSchema):
    """How long, from when, and in which hours of the day (the last is our own member)."""

    duration = Duration(allow_none=True)
    start = Start(allow_none=True)
    daily = Daily(allow_none=True)


class RequestedScheduleSchema(WireSchema):
    """When it should run."""

    requested = nested(RequestedTimeSchema())


class ExecutionRequestSchema(WireSchema):
    """What the client wants run and what it needs."""

    executable = nested(RequestedExecutableSchema())
    compute = nested(RequestedComputeSchema())
    storage = listed(RequestedStorageSchema())
    data = listed(RequestedDataSchema())
    schedule = nested(RequestedScheduleSchema())
    costs = listed(RequestedCostSchema())
    metrics = listed(RequestedMetricSchema())
