"""Names of the root elements, and the schemas of what stands in them."""

from collections.abc import Mapping
from typing import Final

from marshmallow import Schema

from gateway.wire.schemas.identity import IdentityRequestSchema
from gateway.wire.schemas.problem import ProblemSchema
from gateway.wire.schemas.request import ExecutionRequestSchema
from gateway.wire.schemas.session import OfferSetSchema, SessionSchema
from gateway.wire.schemas.template import TemplateSchema
from gateway.wire.schemas.update import UpdateSchema

ROOT_REQUEST: Final = "offers-request"
"""An ExecutionRequest."""

ROOT_TEMPLATE: Final = "execution-template"
"""An execution template: a request with placeholders, and what it is found by."""

ROOT_OFFERSET: Final = "offers-response"
"""An OfferSet."""

ROOT_SESSION: Final = "execution"
"""An ExecutionSession."""

ROOT_UPDATE: Final = "update"
"""An update of a session."""

ROOT_IDENTITY: Final = "identity"
"""An identity, made or shown."""

ROOT_PROBLEM: Final = "problem"
"""A problem."""

ROOT_DOCUMENT: Final = "document"
"""Anything else: every value that is no string says its type."""

ROOT_SCHEMAS: Final[Mapping[str, type[Schema]]] = {
    ROOT_REQUEST: ExecutionRequestSchema,
    ROOT_TEMPLATE: TemplateSchema,
    ROOT_OFFERSET: OfferSetSchema,
    ROOT_SESSION: SessionSchema,
    ROOT_UPDATE: UpdateSchema,
    ROOT_IDENTITY: IdentityRequestSchema,
    ROOT_PROBLEM: ProblemSchema,
}
"""What knows the types of the values under a root."""
