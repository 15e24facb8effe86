"""Schema of a problem (RFC 9457)."""

from marshmallow import fields

from gateway.wire.schemas.blocks import WireSchema, listed, text
from gateway.wire.schemas.fields import Whole


class FaultSchema(WireSchema):
    """One thing wrong with a document, and where (RFC 6901)."""

    pointer = fields.String(required=True)
    detail = fields.String(required=True)


class ProblemSchema(WireSchema):
    """Why a request failed."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = Whole(required=True)
    detail = text()
    instance = text()
    errors = listed(FaultSchema())
