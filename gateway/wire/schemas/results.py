"""Schema of the list of what came out of a session: logs, files, exit and usage."""

from marshmallow import fields, validate

from gateway.wire.outputs import STREAMS
from gateway.wire.phases import SessionPhase
from gateway.wire.schemas.blocks import WireSchema, listed, nested, text
from gateway.wire.schemas.fields import Flag, Instant, Number, UuidText, Whole

_SIZE = validate.Range(min=0, max=2**63 - 1)


class UsageSchema(WireSchema):
    """What a session took; what is not measured is left out."""

    cpu_s = Number(allow_none=True)
    peak_memory_bytes = Whole(allow_none=True)
    bytes_staged = Whole(allow_none=True)
    staging_s = Number(allow_none=True)


class ResultStreamSchema(WireSchema):
    """A log. It has no size before the session has ended."""

    name = fields.String(required=True, validate=validate.OneOf(STREAMS))
    size = Whole(allow_none=True)
    url = text()


class ResultFileSchema(WireSchema):
    """A file that came out: its relative path, its size in bytes, its SHA-256 in hexadecimal."""

    path = fields.String(required=True, validate=validate.Length(min=1))
    size = Whole(required=True, validate=_SIZE)
    sha256 = fields.String(required=True, validate=validate.Regexp(r"^[0-9a-f]{64}$"))
    url = text()


class ResultsSchema(WireSchema):
    """How a session ended, and what came out of it. Before its end there are no files."""

    session = UuidText(required=True)
    phase = fields.String(
        required=True, validate=validate.OneOf([phase.value for phase in SessionPhase])
    )
    is_complete = Flag(required=True)
    exit_code = Whole(allow_none=True)
    reason = text()
    text = text()
    started = Instant(allow_none=True)
    ended = Instant(allow_none=True)
    expires = Instant(allow_none=True)
    usage = nested(UsageSchema())
    streams = listed(ResultStreamSchema())
    files = listed(ResultFileSchema())
    notes = listed(fields.String())
    unsent = listed(fields.String())
