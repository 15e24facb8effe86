"""What clients, gateways and nodes say to each other in headers, beside the documents."""

from typing import Final, TypeVar
from uuid import UUID

from aiohttp import hdrs, web
from marshmallow import Schema, fields, validate

from gateway.httpkit.bodies import answer
from gateway.httpkit.errors import MalformedRequestProblem
from gateway.wire.documents import Document
from gateway.wire.headers import (
    FEDERATION_BUDGET_MS,
    FEDERATION_PATH,
    FEDERATION_REQUEST,
    IDEMPOTENCY_KEY,
    PREFER,
    Preferences,
    parse_prefer,
)

MAX_KEY_LENGTH: Final = 255
"""Longest idempotency key, in characters; a UUID has 36."""

MAX_BUDGET_DIGITS: Final = 9
"""Longest budget: milliseconds of eleven days."""


class OfferHeadersSchema(Schema):
    """Headers that requests for offers may carry."""

    prefer = fields.String(
        data_key=PREFER,
        metadata={
            "description": "RFC 7240: `wait=SECONDS`, `return=representation`, `handling=strict`."
        },
    )
    idempotency_key = fields.String(
        data_key=IDEMPOTENCY_KEY,
        validate=validate.Length(min=1, max=MAX_KEY_LENGTH),
        metadata={"description": "The same key, owner and body are answered alike."},
    )
    federation_path = fields.String(
        data_key=FEDERATION_PATH,
        metadata={"description": "The gateways that a request has passed, separated by commas."},
    )
    federation_request = fields.UUID(
        data_key=FEDERATION_REQUEST,
        metadata={"description": "The client's request, told apart from the ways it takes here."},
    )
    federation_budget_ms = fields.String(
        data_key=FEDERATION_BUDGET_MS,
        validate=validate.Regexp(f"^[0-9]{{1,{MAX_BUDGET_DIGITS}}}$"),
        metadata={"description": "Milliseconds that the last of them still waits."},
    )


class UpdateHeadersSchema(Schema):
    """Headers that updates may carry."""

    prefer = fields.String(
        data_key=PREFER,
        metadata={"description": "RFC 7240: with `handling=strict` a refused update is 409."},
    )


def preferences_of(request: web.Request) -> Preferences:
    """What the client would like best."""
    return parse_prefer(request.headers.getall(PREFER, []))


_Text = TypeVar("_Text", str, str | None)


def _text(header: str, value: _Text) -> _Text:
    """The value, if it can be kept: aiohttp escapes bytes that are no UTF-8."""
    try:
        (value or "").encode()
    except UnicodeEncodeError as error:
        raise MalformedRequestProblem(f"The header {header} must be UTF-8.") from error
    return value


def idempotency_key_of(request: web.Request) -> str | None:
    """The key under which the same request is answered alike.

    Raises
    ------
    MalformedRequestProblem
        It is empty or too long, or no text.
    """
    key = _text(IDEMPOTENCY_KEY, request.headers.get(IDEMPOTENCY_KEY))
    if key is not None and not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise MalformedRequestProblem(
            f"The header {IDEMPOTENCY_KEY} must have 1 to {MAX_KEY_LENGTH} characters."
        )
    return key


def federation_path_of(request: web.Request) -> tuple[str, ...]:
    """The identities of the gateways that the request has passed, in order.

    Raises
    ------
    MalformedRequestProblem
        They are no text.
    """
    listed = _text(FEDERATION_PATH, ",".join(request.headers.getall(FEDERATION_PATH, [])))
    return tuple(name.strip() for name in listed.split(",") if name.strip())


def federation_request_of(request: web.Request) -> UUID | None:
    """Which request of a client this is a part of, if a gateway asks.

    Raises
    ------
    MalformedRequestProblem
        It is no UUID.
    """
    text = request.headers.get(FEDERATION_REQUEST)
    try:
        return None if text is None else UUID(text)
    except ValueError as error:
        raise MalformedRequestProblem(f"The header {FEDERATION_REQUEST} must be a UUID.") from error


def budget_ms_of(request: web.Request) -> int | None:
    """How long the gateway that asks will still wait, if one asks.

    Raises
    ------
    MalformedRequestProblem
        It is no number of milliseconds.
    """
    text = request.headers.get(FEDERATION_BUDGET_MS)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_BUDGET_DIGITS):
        raise MalformedRequestProblem(
            f"The header {FEDERATION_BUDGET_MS} must be a whole number of milliseconds."
        )
    return int(text)


def echoed_key(request: web.Request) -> dict[str, str]:
    """The idempotency key again: it says to a gateway above that asking twice is safe here."""
    key = request.headers.get(IDEMPOTENCY_KEY)
    return {IDEMPOTENCY_KEY: key} if key else {}


def created(request: web.Request, document: Document, *, root: str, location: str) -> web.Response:
    """A redirect to what was made, with it in the body; 200 for those who prefer that."""
    headers = echoed_key(request)
    if preferences_of(request).representation:
        headers |= {"Preference-Applied": "return=representation", hdrs.CONTENT_LOCATION: location}
        return answer(request, document, root=root, headers=headers)
    headers[hdrs.LOCATION] = location
    return answer(request, document, root=root, status=303, headers=headers)
