"""Who may call which route, by its path and method; the OpenAPI document says the same."""

from enum import StrEnum
from typing import Final

from aiohttp import hdrs

UNMATCHED: Final = "unmatched"
"""Stands for the route of every request that no route takes, so that labels stay few."""

OPEN_PATHS: Final = frozenset(
    {
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/docs/{file}",
        "/capabilities",
        "/vosi/availability",
        "/vosi/capabilities",
        "/.well-known/execbroker-challenge/{nonce}",
    }
)
"""Route templates that never look at credentials: a probe with stale ones must still work."""

ADMIN_PREFIX: Final = "/admin/"
"""Every route below this is for the administrator alone, whoever adds it."""

MEMBERSHIP_ROUTES: Final = frozenset({"/nodes", "/nodes/{name}", "/nodes/{name}/lease"})
"""Where nodes join, renew and leave: the only routes that a node's own credential opens."""

OWN_ROUTES: Final = frozenset(
    {"/offersets", "/sessions", "/drafts", "/drafts/{uuid}", "/discovery/data"}
)
"""Lists and drafts: what they show depends on who asks, so there is nothing for nobody. Data too:
where they are is looked up with this service's own rights."""

SAFE_METHODS: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
"""Methods that change nothing (RFC 9110 §9.2.1)."""


class Access(StrEnum):
    """What a route asks of its caller."""

    OPEN = "open"
    READ = "read"
    OWN = "own"
    """Reads what belongs to the caller; never open to everybody, whatever else may be read."""
    WRITE = "write"
    ADMIN = "admin"
    MEMBERSHIP = "membership"
    """Changes who is in the federation: the handler decides, nodes and their tokens come too."""


def access_of(method: str, route: str) -> Access:
    """What a call asks of its caller; ``route`` is the path template of the route."""
    if route in OPEN_PATHS:
        return Access.OPEN
    if route.startswith(ADMIN_PREFIX):
        return Access.ADMIN
    if method in SAFE_METHODS:
        return Access.OWN if route in OWN_ROUTES else Access.READ
    return Access.MEMBERSHIP if route in MEMBERSHIP_ROUTES else Access.WRITE
