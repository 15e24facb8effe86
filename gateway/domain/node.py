"""A node as the configuration or its registration describes it, and how it is spoken to."""

import base64
from dataclasses import dataclass
from typing import Final

from gateway.wire.secret import Secret

DEFAULT_MAX_IN_FLIGHT: Final = 64
"""Exchanges with one node at the same time; more wait, and waiting counts against the deadline."""


@dataclass(frozen=True, slots=True)
class NoCredentials:
    """The node is spoken to without authentication: it can be read, not asked for offers."""

    def authorization(self, caller: str | None) -> str | None:
        """The ``Authorization`` header to send; ``caller`` is the one the client sent."""
        del caller
        return None


@dataclass(frozen=True, slots=True)
class BasicCredentials:
    """A service account at the node, HTTP Basic (RFC 7617)."""

    username: str
    password: Secret

    def authorization(self, caller: str | None) -> str | None:
        """The ``Authorization`` header to send; ``caller`` is the one the client sent."""
        del caller
        pair = f"{self.username}:{self.password.reveal()}"
        return f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class BearerCredentials:
    """A service account at the node, bearer token (RFC 6750)."""

    token: Secret

    def authorization(self, caller: str | None) -> str | None:
        """The ``Authorization`` header to send; ``caller`` is the one the client sent."""
        del caller
        return f"Bearer {self.token.reveal()}"


@dataclass(frozen=True, slots=True)
class PassThroughCredentials:
    """The caller's own ``Authorization`` header is handed on: the person is known at the node too.

    Work in the background has no caller and goes without.
    """

    def authorization(self, caller: str | None) -> str | None:
        """The ``Authorization`` header to send; ``caller`` is the one the client sent."""
        return caller


NodeCredentials = NoCredentials | BasicCredentials | BearerCredentials | PassThroughCredentials
"""Every way a node can be told who asks."""


@dataclass(frozen=True, slots=True)
class NodeProfile:
    """What is known of a node before it was ever asked.

    ``url`` has no slash at its end. ``storage`` names the Rucio storage elements near the node.
    ``max_in_flight`` bounds the exchanges with it. ``reports_memory`` is false for a node whose
    memory figures are known to be copies of its cores (contract of the upstream service), which
    are then unknown rather than believed. ``honours_idempotency`` is None until it was seen.
    ``simple_data``: SKAO and Rucio data are sent as the URL of the nearest replica.
    ``identity`` is what it calls itself wherever it is registered, if that is known.
    ``owners`` and ``groups`` are those it is asked for; both empty: everybody. ``weight`` is how
    promising it counts beside its peers where not all are asked. ``is_registered``: it registered
    itself, and is not from the settings.
    """

    name: str
    url: str
    site: str | None = None
    storage: tuple[str, ...] = ()
    credentials: NodeCredentials = NoCredentials()
    is_enabled: bool = True
    max_in_flight: int = DEFAULT_MAX_IN_FLIGHT
    reports_memory: bool = True
    honours_idempotency: bool | None = None
    simple_data: bool = False
    identity: str | None = None
    owners: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    regions: tuple[str, ...] = ()
    weight: float = 1.0
    is_registered: bool = False
