"""Schema of an execution template: an ExecutionRequest in which placeholders stand for choices.

Source: the ``ivoa-execution.yaml`` files of upstream's demonstration. A component whose kind is
``abstract-…`` stands for what the user supplies; its ``meta`` says what that is. The block
``discovery`` is our own, as upstream plans one of that name: what the template is found by.
"""

from marshmallow import fields, validate

from gateway.wire.schemas.blocks import WireSchema, nested, text
from gateway.wire.schemas.executable import RequestedExecutableSchema
from gateway.wire.schemas.request import ExecutionRequestSchema

_LINE = validate.Length(min=1, max=200)
"""A title or keyword fits into a table of them."""


class TemplateDiscoverySchema(WireSchema):
    """What people search for; it is no part of what runs."""

    title = text(validate=_LINE)
    description = text(validate=validate.Length(max=10_000))
    keywords = fields.List(
        fields.String(validate=_LINE), allow_none=True, validate=validate.Length(max=50)
    )


class TemplateSchema(ExecutionRequestSchema):
    """An execution template; other than in a request, something to run must be in it."""

    executable = fields.Nested(RequestedExecutableSchema(), required=True)
    discovery = nested(TemplateDiscoverySchema())
