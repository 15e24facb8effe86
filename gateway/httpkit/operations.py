"""Typed decorators that say what an operation takes and gives.

They are those of aiohttp-apispec, which carries no types: under ``mypy --strict`` an untyped
decorator would take the types from every handler. What they leave on a handler (``__apispec__``
and ``__schemas__``) feeds both the OpenAPI document and ``read_body``.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeVar

import aiohttp_apispec
from marshmallow import Schema

from gateway.wire.documents import Document
from gateway.wire.schemas.problem import ProblemSchema

_Handler = TypeVar("_Handler", bound=Callable[..., Any])


class Decorator(Protocol):
    """Gives back the handler that it was given, with something noted on it."""

    def __call__(self, handler: _Handler, /) -> _Handler:
        """Note it."""
        ...


JSON_ONLY: Final = ("application/json",)
"""For operations that neither read nor write YAML and XML."""

WIRE_MEDIA_TYPES: Final = ("application/json", "application/yaml", "application/xml")
"""What the operations of the ExecutionBroker API read and write, the default first."""

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
"""The media type of every failure, whatever the client accepts (RFC 9457 §3)."""

MERGE_PATCH: Final = "application/merge-patch+json"
"""The media type of a JSON merge patch (RFC 7396 §4)."""

NOT_MODIFIED: Final[Document] = {"description": "The client has it already"}
"""The answer 304, for ``docs``."""

_BODY = "json"
_QUERY = "querystring"


def docs(
    *,
    tags: Sequence[str],
    summary: str,
    description: str = "",
    responses: Mapping[int, Document] | None = None,
    parameters: Sequence[Document] = (),
    media_types: Sequence[str] = WIRE_MEDIA_TYPES,
    more_bodies: Mapping[str, Schema] | None = None,
) -> Decorator:
    """Describe an operation.

    Parameters
    ----------
    responses
        OpenAPI response objects by status; a ``schema`` in one may be a marshmallow schema. Those
        that every operation of its sort can give need no mention (``openapi.implied_statuses``).
    media_types
        What its body and its answers may be, the default first.
    more_bodies
        Bodies of other media types that it takes, too, with their schemas.
    """
    keys = {str(status): dict(response) for status, response in (responses or {}).items()}
    decorator: Decorator = aiohttp_apispec.docs(
        tags=list(tags),
        summary=summary,
        description=description,
        responses=keys,
        parameters=list(parameters),
        produces=list(media_types),
        more_bodies=dict(more_bodies or {}),
    )
    return decorator


def request_schema(schema: Schema) -> Decorator:
    """The schema of the body; ``read_body`` validates with it."""
    decorator: Decorator = aiohttp_apispec.request_schema(schema, location=_BODY)
    return decorator


def querystring_schema(schema: Schema) -> Decorator:
    """The schema of the query parameters; ``read_query`` validates with it."""
    decorator: Decorator = aiohttp_apispec.querystring_schema(schema)
    return decorator


def headers_schema(schema: Schema) -> Decorator:
    """The schema of the headers that an operation reads; for the document alone."""
    decorator: Decorator = aiohttp_apispec.headers_schema(schema)
    return decorator


def response_schema(schema: Schema, code: int = 200, *, description: str = "") -> Decorator:
    """The schema of the answer of one status."""
    text = description or HTTPStatus(code).phrase
    decorator: Decorator = aiohttp_apispec.response_schema(schema, code, description=text)
    return decorator


def problem_responses(*statuses: int) -> dict[int, Document]:
    """Responses for ``docs``: each of these statuses comes with a problem."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "schema": _PROBLEM,
            "media_types": [PROBLEM_MEDIA_TYPE],
        }
        for status in statuses
    }


def body_schema_of(handler: object) -> Schema | None:
    """The schema that ``request_schema`` gave this handler."""
    return _schema_at(handler, _BODY)


def query_schema_of(handler: object) -> Schema | None:
    """The schema that ``querystring_schema`` gave this handler."""
    return _schema_at(handler, _QUERY)


def _schema_at(handler: object, location: str) -> Schema | None:
    for entry in getattr(handler, "__schemas__", ()):
        if entry["location"] == location:
            schema: Schema = entry["schema"]
            return schema
    return None


_PROBLEM = ProblemSchema()
