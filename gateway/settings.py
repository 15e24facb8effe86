"""The gateway's settings as its parts receive them; ``gateway.config`` reads them from a file."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


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
class PostgresSettings:
    """How PostgreSQL is used, where it is the database.

    At most ``connections`` of one process: a server allows 100 by default, which is ten processes.
    Waiting for a connection ends after ``connect_s``, a statement after ``command_s``; here they
    take milliseconds.
    """

    connections: int = 10
    connect_s: float = 2.0
    command_s: float = 5.0


@dataclass(frozen=True, slots=True)
class AskingSettings:
    """Whom a request is put to, and how long each node is waited for.

    Up to ``all_up_to`` nodes are asked at once; asking 64 takes some milliseconds, and the ranking
    is over all there is. Where there are more, ``wave_size`` are asked at first, of which
    ``wave_explored`` are those not asked for longest, and then twice as many each time until there
    are offers enough or ``max_holds`` are held for the request.

    A node that takes longer than its own answers usually take holds nobody up once the others are
    in, but not before ``own_limit_floor_s``. One that honours idempotency keys is then asked a
    second time, ``hedge_share`` of all nodes at most; 0 for never.
    """

    all_up_to: int = 64
    wave_size: int = 16
    wave_explored: int = 2
    max_holds: int = 256
    own_limit_floor_s: float = 0.5
    hedge_share: float = 0.25


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
    """How sessions are read, followed and forgotten; in seconds unless the name says days.

    A session whose owner wishes it is asked for elsewhere when its node has been lost for
    ``resubmit_after_s`` before it ran (MultiKueue waits as long), and at most ``resubmit_limit``
    times in a row.
    """

    fresh_s: float = 1.0
    read_deadline_s: float = 2.0
    update_deadline_s: float = 5.0
    follow_s: float = 30.0
    offersets_days: float = 30.0
    offers_s: float = 3600.0
    resubmit_after_s: float = 900.0
    resubmit_limit: int = 3


@dataclass(frozen=True, slots=True)
class CommandSettings:
    """How commands to nodes are delivered: back-off from ``first_s`` doubling to ``longest_s``.

    A node is told for ``give_up_s``; of the end of what may run there, for ``cancel_days``. One
    that was lost and knows nothing of what is to be ended is believed after ``give_up_s``.
    """

    first_s: float = 1.0
    longest_s: float = 60.0
    give_up_s: float = 86400.0
    cancel_days: float = 30.0
    deadline_s: float = 5.0
    lease_s: float = 30.0
    at_once: int = 16


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """The audit trail is kept for ``days``: a year, as reviews are yearly."""

    days: float = 365.0


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """When a node that fails is left alone, and when it is asked again; times are seconds.

    A node is ejected after ``failures`` in a row that stretch over ``failing_for_s`` at least, so
    that one burst is not taken for a dead node. A node that was not in time counts as failing only
    if it had ``fair_wait_s`` or half of the usual deadline, and less where it usually needs much
    less. The first ejection lasts ``ejection_s``, each further one that much longer,
    ``longest_ejection_s`` at most. Never are fewer than ``min_askable_share`` of the enabled nodes
    left, and nobody is ejected in the first ``grace_s``. A node not heard from for
    ``probe_every_s`` is probed; 0: only those ejected are. A probe has ``probe_wait_s``. Requests
    to one node at once are kept between ``min_in_flight`` and the node's ``max_in_flight`` by how
    long its answers take.
    """

    failures: int = 5
    failing_for_s: float = 1.0
    fair_wait_s: float = 2.0
    ejection_s: float = 30.0
    longest_ejection_s: float = 300.0
    min_askable_share: float = 0.5
    grace_s: float = 10.0
    probe_every_s: float = 15.0
    probe_wait_s: float = 2.0
    min_in_flight: int = 4


@dataclass(frozen=True, slots=True)
class DiscoverySettings:
    """What users may put into the register of execution templates.

    Templates are imported from ``import_hosts`` only: hosts, with their port where it is not the
    usual one; none: nothing is imported. ``import_http`` allows them without TLS, and
    ``import_private`` hosts at private addresses. A file must be there within ``import_s`` and have
    at most ``import_bytes``; templates of this project have a twentieth of that. Nobody but the
    administrator has more than ``templates_per_owner``, or a few more for who publishes through
    several gateways at one moment.
    """

    import_hosts: tuple[str, ...] = ()
    import_http: bool = False
    import_private: bool = False
    import_s: float = 5.0
    import_bytes: int = 256 << 10
    templates_per_owner: int = 200


@dataclass(frozen=True, slots=True)
class EventSettings:
    """Who may watch events as they come.

    At most ``streams`` are open in one process: each takes a file descriptor, and some 30 KiB (28
    when a thousand were measured). ``streams_per_owner`` of them may be one caller's: a browser
    opens six to one host (WHATWG HTML, section 9.2, says so of HTTP/1.1), and one stream shows the
    events of all sessions. After ``stream_s`` a stream ends and its reader comes back, so that
    credentials are looked at again.
    """

    streams: int = 2048
    streams_per_owner: int = 64
    stream_s: float = 900.0


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Whom events are sent to; times are seconds.

    Only to the origins in ``allow``: hosts, with a port where it is not the usual one, and behind
    ``http://`` where there is no TLS; none: there are no webhooks. ``allow_private``: they may be
    at private addresses. A call must be answered within ``deadline_s``. After a failure the next is
    ``first_s`` later, twice as much after each one in a row, ``longest_s`` at most; after
    ``give_up_s`` of failures the webhook is disabled. ``at_once`` webhooks are called at the same
    time.
    """

    allow: tuple[str, ...] = ()
    allow_private: bool = False
    per_owner: int = 10
    deadline_s: float = 15.0
    first_s: float = 5.0
    longest_s: float = 3600.0
    give_up_s: float = 3 * 86_400.0
    at_once: int = 16


class TransportType(StrEnum):
    """What carries exchanges with nodes."""

    LEAN = "lean"
    """The gateway's own client: small exchanges at the least cost."""
    AIOHTTP = "aiohttp"
    """The reference, some three times as dear."""


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """How nodes are spoken to.

    An answer of more than ``max_reply_bytes`` is not read: 4 MiB are some 280 offers of 14 KB. A
    connection unused for ``keepalive_s`` is closed, before common servers do it (Tomcat 20 s, nginx
    75 s). ``dns_cache_s`` is how long a resolved name is believed. ``ca_file`` holds certificates
    (PEM) of the authorities that are trusted in place of the system's; ``certificate``, with its
    ``key`` in the same file or another, is shown to nodes that want to see one.
    """

    type: TransportType = TransportType.LEAN
    max_reply_bytes: int = 4 << 20
    keepalive_s: float = 15.0
    dns_cache_s: float = 60.0
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class RegistrationSettings:
    """How nodes join and stay; times are seconds.

    A registered node renews its lease every ``renew_s`` and is down when it has not for
    ``lease_s``, three times as long: two renewals may be lost. After all gateways were away every
    lease holds for ``restart_grace_s`` more. ``groups`` are those whose members may register nodes
    without a token. ``allow_private_addresses``: the URL of a node may lead into the local network,
    for federations that live in one. A token holds for ``token_s`` unless it says otherwise, one
    day: time to log in at the site.
    """

    lease_s: float = 90.0
    renew_s: float = 30.0
    restart_grace_s: float = 90.0
    groups: tuple[str, ...] = ()
    allow_private_addresses: bool = False
    token_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class DraftSettings:
    """How long a draft is kept that nobody changes, a season, and how many one owner may have."""

    days: float = 90.0
    per_owner: int = 500
