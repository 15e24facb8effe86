"""What the head and the first bytes of a node's reply say, before anything of it is believed."""

from typing import Final
from urllib.parse import urlsplit

from gateway.clients.exchange import Reply
from gateway.wire.documents import Document, from_json

MAX_PROBLEM_BYTES: Final = 16 << 10
"""A longer failure body is not kept."""


def problem_of(reply: Reply) -> Document | None:
    """The RFC 9457 body of a failure, if that is what came."""
    if len(reply.body) > MAX_PROBLEM_BYTES or not is_json(media_type_of(reply)):
        return None
    try:
        body = from_json(reply.body)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def media_type_of(reply: Reply) -> str:
    """The media type without its parameters; empty where none is given."""
    return reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def is_json(media_type: str) -> bool:
    """Whether it is JSON, or something told in JSON."""
    return media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


def looks_like_object(body: bytes) -> bool:
    """Whether the body may be a document."""
    return body[:1] == b"{" or body.lstrip()[:1] == b"{"


def origin_of(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port: what credentials may be sent to."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)
