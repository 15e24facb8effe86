"""Who may call which route, by its path and method; the OpenAPI document says the same."""

from enum import StrEnum
from typing import Final

from aiohttp import hdrs

UNMATCHED: Final = "unmatched"
"""Stands for the route of every request that no route takes, so that labels stay few."""

OPEN_PATHS: Final = frozenset(
    {"/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/{file}"}
)
"""Route templates that never look at credentials: a probe with stale ones must still work."""

ADMIN_PREFIX: Final = "/admin/"
"""Every route below this is for the administrator alone, whoever adds it."""

SAFE_METHODS: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
"""Methods that change nothing (RFC 9110 §9.2.1)."""


class Access(StrEnum):
    """What a route asks of its caller."""

    OPEN = "open"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


def access_of(method: str, route: str) -> Access:
    """What a call asks of its caller; ``route`` is the path template of the route."""
    if route in OPEN_PATHS:
        return Access.OPEN
    if route.startswith(ADMIN_PREFIX):
        return Access.ADMIN
    return Access.READ if method in SAFE_METHODS else Access.WRITE
