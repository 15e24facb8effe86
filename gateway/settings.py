"""The gateway's settings as its parts receive them; ``gateway.config`` reads them from a file."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FederationSettings:
    """How a request is asked, judged and answered.

    ``name`` is this gateway's identity in ``Federation-Path``; times are seconds. ``margin_s`` is
    what is kept of a deadline handed down by another gateway for the way back.
    """

    name: str = "gateway"
    deadline_s: float = 5.0
    max_wait_s: float = 30.0
    connect_s: float = 1.0
    margin_s: float = 0.25
    limit: int = 10
    max_limit: int = 100
    per_node: int = 2
    policy: str = "balanced"
    late_s: float = 60.0
    hop_limit: int = 4
    refusal_memory_s: float = 60.0


@dataclass(frozen=True, slots=True)
class PlacementSettings:
    """How the data of a request are located and weighed.

    Locating takes ``locate_s`` at most, and no more than ``locate_share`` of what the client waits.
    ``usual_gbit_s`` is taken for sites and links that say nothing of their own; ``setup_s`` passes
    before anything moves, ``tape_s`` more before a tape gives anything. ``shows_replicas``: clients
    see the replicas that nodes were told of, which may come from a privileged account.
    """

    locate_s: float = 2.0
    locate_share: float = 0.4
    usual_gbit_s: float = 10.0
    setup_s: float = 30.0
    tape_s: float = 600.0
    shows_replicas: bool = False


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How sessions are read, followed and forgotten; in seconds unless the name says days."""

    fresh_s: float = 1.0
    read_deadline_s: float = 2.0
    update_deadline_s: float = 5.0
    follow_s: float = 30.0
    offersets_days: float = 30.0
    offers_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class CommandSettings:
    """How commands to nodes are delivered: back-off from ``first_s`` doubling to ``longest_s``."""

    first_s: float = 1.0
    longest_s: float = 60.0
    give_up_s: float = 86400.0
    deadline_s: float = 5.0
    lease_s: float = 30.0
    at_once: int = 16
