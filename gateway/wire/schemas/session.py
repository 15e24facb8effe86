"""Schemas of the answers: an ExecutionSession, and an OfferSet of them."""

from marshmallow import fields, validate

from gateway.wire import kinds
from gateway.wire.phases import ConnectorStatus, SessionPhase
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
from gateway.wire.schemas.components import ComponentSchema, ScheduleSchema
from gateway.wire.schemas.data import DataSchema
from gateway.wire.schemas.executable import ExecutableSchema
from gateway.wire.schemas.fields import Flag, Instant, Number, StringMap, UuidText, Whole
from gateway.wire.schemas.resources import ComputeSchema, StorageSchema

OUTCOMES = ("answered", "no", "late", "timeout", "refused", "error", "invalid", "skipped")
"""What can become of asking a node."""


class ConnectorSchema(WireSchema):
    """A way to reach a session."""

    kind = text()
    status = one_of(*ConnectorStatus)
    protocol = text()
    location = text()


class PlacementSchema(WireSchema):
    """Where the data of an offer lies, in bytes and seconds, and how that is known.

    Of ``resources`` in the request, ``unlocated`` lie at least in part nobody knows where; the rest
    is about the others. ``correction`` is how much faster the node's own reports made its links.
    """

    bytes_total = Whole(allow_none=True)
    bytes_local = Whole(allow_none=True)
    bytes_to_move = Whole(allow_none=True)
    files_to_move = Whole(allow_none=True)
    staging_s = Number(allow_none=True)
    proximity = Number(allow_none=True)
    basis = text()
    age_s = Number(allow_none=True)
    approximate = Flag(allow_none=True)
    resources = Whole(allow_none=True)
    unlocated = Whole(allow_none=True)
    correction = Number(allow_none=True)


class ReasonSchema(WireSchema):
    """Why something is as it is: a published code, its sentence, and the facts in it."""

    code = text()
    text = text()
    values = StringMap(allow_none=True)


class OfferFederationSchema(WireSchema):
    """What a gateway says of an offer: who made it and why it stands where it does."""

    node = text()
    path = listed(fields.String())
    rank = Whole(allow_none=True)
    score = Number(allow_none=True)
    reasons = listed(ReasonSchema())
    placement = nested(PlacementSchema())


class ScheduledSessionSchema(ComponentSchema):
    """One execution from offer to end."""

    kind = kind(kinds.SCHEDULED_SESSION)
    phase = one_of(*SessionPhase)
    expires = Instant(allow_none=True)
    executable = nested(ExecutableSchema())
    compute = nested(ComputeSchema())
    storage = listed(StorageSchema())
    data = listed(DataSchema())
    connectors = listed(ConnectorSchema())
    schedule = nested(ScheduleSchema())
    federation = nested(OfferFederationSchema())


class SessionSchema(OneOfKinds):
    """A session in an answer: the simple kind breaks the public client."""

    type_schemas = variants(ScheduledSessionSchema())


class NodeSessionSchema(OneOfKinds):
    """A session as a node gives it: what a gateway below adds is its own affair."""

    type_schemas = variants(ScheduledSessionSchema(exclude=("federation",)))


class NodeCoverageSchema(WireSchema):
    """One node and what became of asking it."""

    node = text()
    outcome = one_of(*OUTCOMES)
    reason = nested(ReasonSchema())
    took_ms = Number(allow_none=True)
    offers = Whole(allow_none=True)


class BelowSchema(WireSchema):
    """What a node that is a gateway says of the nodes that it asked itself.

    One of these may be a gateway again, and then has a ``below`` of its own.
    """

    gateway = text()
    offerset = UuidText(allow_none=True)
    coverage = listed(NodeCoverageSchema())


class CoverageSchema(NodeCoverageSchema):
    """One node of this gateway and what became of asking it."""

    below = nested(BelowSchema())


class OfferSetFederationSchema(WireSchema):
    """What a gateway says of an offer set: every node, exactly once."""

    coverage = listed(CoverageSchema())


class OfferSetSchema(ComponentSchema):
    """The answer to one request. Any kind is good: the public client does not look at it."""

    kind = text()
    result = fields.String(validate=validate.OneOf(["YES", "NO"]))
    description = text()
    offers = listed(SessionSchema())
    federation = nested(OfferSetFederationSchema())
