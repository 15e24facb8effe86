"""What one site allows, refuses and declares: the facts that requests are checked against."""

from dataclasses import dataclass
from typing import Final

from gateway.wire import kinds
from node_stub.ledger import Amounts

EVERY_KIND: Final = (
    kinds.EXECUTABLE_KINDS
    | kinds.COMPUTE_KINDS
    | kinds.STORAGE_KINDS
    | kinds.VOLUME_KINDS
    | kinds.DATA_KINDS
)
"""All component kinds of the schema."""

DEFAULT_AMOUNTS: Final = Amounts(cores=2, memory_gib=2, storage_gib=1)
"""What a request is taken to need where it does not say; storage is per storage resource."""

HORIZON_S: Final = 366 * 86_400
"""How far ahead a start may be asked for: a year keeps the ledger and the calendar small."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a component takes to get ready and to clear away, in seconds."""

    prepare_s: int = 0
    release_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DenyList:
    """What the site refuses, each matched exactly.

    ``images`` are locations and digests; ``arguments`` are command arguments, entry points, and
    names and values of environment variables.
    """

    port_paths: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset()
    notebooks: frozenset[str] = frozenset()
    data_locations: frozenset[str] = frozenset()
    s3_endpoints: frozenset[str] = frozenset()
    ivoids: frozenset[str] = frozenset()
    skao_namespaces: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()
    arguments: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Figure:
    """One cost or metric that the site declares; ``type`` is the URN that says which."""

    type: str
    min: float | None = None
    max: float | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The costs and metrics of every session and of its compute resource."""

    session_costs: tuple[Figure, ...] = ()
    session_metrics: tuple[Figure, ...] = ()
    compute_costs: tuple[Figure, ...] = ()
    compute_metrics: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRules:
    """One site's rules.

    ``limits`` are those of one request. ``window_s`` is how long after now a start is looked for
    where the client does not say when. ``kinds`` are the component kinds that the site's platform
    can run.
    """

    limits: Amounts
    defaults: Amounts = DEFAULT_AMOUNTS
    default_duration_s: int = 1800
    max_duration_s: int = 43_200
    window_s: int = 86_400
    horizon_s: int = HORIZON_S
    kinds: frozenset[str] = EVERY_KIND
    deny: DenyList = DenyList()
    profile: Profile = Profile()
