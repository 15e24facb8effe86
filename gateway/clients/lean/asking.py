"""One request as bytes. Pure; what could be read as two requests is never written."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from yarl import URL

from gateway.clients.exchange import USER_AGENT, NodeGarbageError

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TEXT: Final = re.compile("[\t -~\x80-\U0010ffff]*+")
"""No control characters besides the tab (RFC 9110 section 5.5): a line end would start a field."""

_OURS: Final = frozenset(
    {"connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Fields that say where a message ends and how long its connection lasts."""

_PLAIN: Final = re.compile(r"(https?://[^/?#@\s]+)((?:/[A-Za-z0-9_~-]+)+)")
"""A URL whose path is sent as it stands: nothing in it is encoded, and no segment means another.

Every session has its own, so there are too many to remember them.
"""

_REMEMBERED: Final = 512
"""Nodes and their ``/requests``, and the header names that go together; an entry is some 1 KB."""

_WITH_BODY: Final = frozenset({"PATCH", "POST", "PUT"})
"""Methods whose empty body is said to be empty (RFC 9110 section 8.6)."""


class Origin(NamedTuple):
    """Where connections lead to. ``host`` is a name or an address, ASCII, without brackets."""

    is_tls: bool
    host: str
    port: int


class _Place(NamedTuple):
    """What a URL says. ``lines`` are those that follow from its origin."""

    origin: Origin
    target: str
    lines: str


def render_request(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None
) -> tuple[Origin, bytes]:
    """Where a request goes, and its bytes. User information in the URL is not sent.

    Raises
    ------
    NodeGarbageError
        The URL, which may be a node's, is not one of HTTP.
    ValueError
        The method, or a header, cannot be sent.
    """
    _check_names(method, tuple(headers))
    if _TEXT.fullmatch("".join(headers.values())) is None:
        raise ValueError("a header holds control characters")
    plain = _PLAIN.fullmatch(url)
    place = _place(plain[1] if plain else url)
    target = plain[2] if plain else place.target
    lines = [f"{method} {target} HTTP/1.1\r\n", place.lines]
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    if body is not None or method in _WITH_BODY:
        lines.append(f"Content-Length: {len(body or b'')}\r\n")
    lines.append("\r\n")
    head = "".join(lines).encode()
    return place.origin, head + body if body else head


@lru_cache(maxsize=_REMEMBERED)
def _place(url: str) -> _Place:
    try:
        parsed = URL(url)
        host, port = parsed.raw_host, parsed.port
    except ValueError as error:
        raise _not_an_address() from error
    if parsed.scheme not in {"http", "https"} or not host or not port:
        raise _not_an_address()
    lines = (
        f"Host: {parsed.host_port_subcomponent}\r\n"
        f"User-Agent: {USER_AGENT}\r\nAccept-Encoding: identity\r\n"
    )
    return _Place(Origin(parsed.scheme == "https", host, port), parsed.raw_path_qs, lines)


@lru_cache(maxsize=_REMEMBERED)
def _check_names(method: str, names: tuple[str, ...]) -> None:
    if _NAME.fullmatch(method) is None:
        raise ValueError("the method is not a token")
    for name in names:
        if _NAME.fullmatch(name) is None or name.lower() in _OURS:
            raise ValueError(f"a header cannot be named {name!r}")


def _not_an_address() -> NodeGarbageError:
    return NodeGarbageError("the address is not a URL of HTTP")
