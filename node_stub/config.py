"""The node's settings: one YAML file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from gateway.httpkit.listen_address import ListenAddress
from gateway.httpkit.membership.settings import JoinSettings, JoinsField
from gateway.httpkit.server_settings import ServerSchema, ServerSettings
from gateway.httpkit.settings import SettingsSchema, TypedSettingsSchema, load_settings
from gateway.httpkit.shedding_settings import SheddingSchema, SheddingSettings
from node_stub.fitting import Fit
from node_stub.ledger import Amounts
from node_stub.platforms.docker.settings import DockerSchema, DockerSettings
from node_stub.platforms.local.settings import LocalSchema, LocalSettings
from node_stub.platforms.simulated import JobStep, SimulatedSettings
from node_stub.platforms.workspace_settings import WorkspaceSettings
from node_stub.rules import DenyList, Figure, Profile, SiteRules
from node_stub.staging.settings import StagingSchema, StagingSettings

SQLITE_PREFIX: Final = "sqlite:///"
"""What a database setting begins with; a path follows, relative to the data directory."""

PlatformSettings = SimulatedSettings | LocalSettings | DockerSettings
"""What sessions can run on."""

_POSITIVE = validate.Range(min=1)
_NOT_NEGATIVE = validate.Range(min=0)
_SECONDS = validate.Range(min=0, max=366 * 86_400)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSettings:
    """How offers are made.

    ``window_s`` is how far ahead a start is looked for when the client does not say when;
    ``step_s`` is the step in which longer runs are tried; ``scale`` is how many times the minimum
    is offered where it is free and the client gives no maximum. ``estimate_timeout_s`` is how long
    the platform may take to say what it can run.
    """

    count: int = 4
    window_s: int = 86_400
    step_s: int = 60
    expires_s: int = 300
    min_expires_s: int = 10
    default_duration_s: int = 1800
    max_duration_s: int = 43_200
    scale: int = 2
    fit: Fit = Fit.EARLIEST
    estimate_timeout_s: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureSettings:
    """What the site declares of sessions, and of their compute resource."""

    session: tuple[Figure, ...] = ()
    compute: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """How long what has ended can still be read.

    ``offers_s`` is for offers that nobody accepted, and for answers of which nothing was accepted:
    a node in a federation makes a hundred of them for one that runs. ``results_days`` is for logs
    and files that came out, ``results_gib`` the most that is kept of one session.
    """

    offersets_days: float = 30.0
    offers_s: float = 3600.0
    results_days: float = 7.0
    results_gib: float = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcilerSettings:
    """How sessions are driven.

    ``attempts`` is how often a platform is asked again for what it failed to do, each time waiting
    twice as long, from ``backoff_s`` up to ``max_backoff_s``. ``call_timeout_s`` bounds one call:
    every call only begins something, so one that takes longer is stuck, and keeps a worker from
    the others. ``stop_s`` and ``release_s`` bound what a platform may take in all. ``archive_s`` is
    how long it is tried to archive what came out of a session, waiting between the attempts as
    above: long enough for somebody to come and make room. It is counted anew after a restart.
    """

    workers: int = 16
    attempts: int = 6
    backoff_s: float = 0.5
    max_backoff_s: float = 60.0
    call_timeout_s: float = 20.0
    stop_s: float = 60.0
    release_s: float = 600.0
    archive_s: float = 86_400.0

    def wait_s(self, failures: int) -> float:
        """How long to wait after so many failures in a row."""
        # The exponent is bounded: a float overflows beyond 2**1023.
        doubled = self.backoff_s * 2.0 ** min(failures - 1, 64)
        return min(doubled, self.max_backoff_s)


@dataclass(frozen=True, slots=True)
class NodeSheddingSettings(SheddingSettings):
    """As at a gateway, but generous: who asks a node is a gateway that has let in its share."""

    start_heavy: int = 256
    high_lag_s: float = 1.0
    low_lag_s: float = 0.5


@dataclass(frozen=True, kw_only=True)
class NodeSettings(ServerSettings):
    """All settings of a node.

    ``database`` is ``sqlite:///`` and a path, relative to the data directory. ``limits`` are those
    of one request; without them it may take the whole capacity. ``storage`` names the Rucio storage
    elements near the node; ``join``, the gateways that it registers itself with.
    """

    listen: ListenAddress = field(default_factory=lambda: ListenAddress("127.0.0.1", 8090))
    database: str = "sqlite:///node.db"
    name: str
    site: str | None = None
    storage: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    join: tuple[JoinSettings, ...] = ()
    capacity: Amounts
    limits: Amounts | None = None
    offers: OfferSettings = field(default_factory=OfferSettings)
    costs: FigureSettings = field(default_factory=FigureSettings)
    metrics: FigureSettings = field(default_factory=FigureSettings)
    deny: DenyList = field(default_factory=DenyList)
    platform: PlatformSettings = field(default_factory=SimulatedSettings)
    workspace: WorkspaceSettings = field(default_factory=WorkspaceSettings)
    staging: StagingSettings = field(default_factory=StagingSettings)
    reconciler: ReconcilerSettings = field(default_factory=ReconcilerSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    shedding: NodeSheddingSettings = field(default_factory=NodeSheddingSettings)

    @property
    def database_path(self) -> Path:
        """Where the database is, relative to the data directory."""
        return Path(self.database.removeprefix(SQLITE_PREFIX))

    def rules(self, kinds: frozenset[str]) -> SiteRules:
        """What requests are checked against, on a platform with these kinds."""
        return SiteRules(
            limits=(self.limits or self.capacity).capped(self.capacity),
            default_duration_s=self.offers.default_duration_s,
            max_duration_s=self.offers.max_duration_s,
            window_s=self.offers.window_s,
            kinds=kinds,
            deny=self.deny,
            profile=Profile(
                session_costs=self.costs.session,
                session_metrics=self.metrics.session,
                compute_costs=self.costs.compute,
                compute_metrics=self.metrics.compute,
            ),
        )


class AmountsSchema(SettingsSchema):
    """Sections ``capacity`` and ``limits``."""

    settings_class: ClassVar[type] = Amounts

    cores = fields.Integer(strict=True, required=True, validate=_POSITIVE)
    memory_gib = fields.Integer(strict=True, required=True, validate=_POSITIVE)
    storage_gib = fields.Integer(strict=True, required=True, validate=_POSITIVE)


class OfferSchema(SettingsSchema):
    """Section ``offers``."""

    settings_class: ClassVar[type] = OfferSettings

    count = fields.Integer(strict=True, validate=validate.Range(min=1, max=100))
    window_s = fields.Integer(strict=True, validate=_POSITIVE)
    step_s = fields.Integer(strict=True, validate=_POSITIVE)
    expires_s = fields.Integer(strict=True, validate=_POSITIVE)
    min_expires_s = fields.Integer(strict=True, validate=_POSITIVE)
    default_duration_s = fields.Integer(strict=True, validate=_POSITIVE)
    max_duration_s = fields.Integer(strict=True, validate=_POSITIVE)
    scale = fields.Integer(strict=True, validate=validate.Range(min=1, max=100))
    fit = fields.Enum(Fit, by_value=True)
    estimate_timeout_s = fields.Float(validate=validate.Range(min=0.1, max=60))


class FigureSchema(SettingsSchema):
    """One declared cost or metric."""

    settings_class: ClassVar[type] = Figure

    type = fields.String(required=True, validate=validate.Length(min=1))
    min = fields.Float()
    max = fields.Float()
    description = fields.String()

    @validates_schema
    def check_order(self, data: dict[str, Any], **_: Any) -> None:
        """The least is not above the most."""
        if "min" in data and "max" in data and data["min"] > data["max"]:
            raise ValidationError("must not be below min", "max")


class FiguresSchema(SettingsSchema):
    """Sections ``costs`` and ``metrics``."""

    settings_class: ClassVar[type] = FigureSettings

    session = fields.List(fields.Nested(FigureSchema()))
    compute = fields.List(fields.Nested(FigureSchema()))


class DenySchema(SettingsSchema):
    """Section ``deny``: lists, each entry matched exactly."""

    settings_class: ClassVar[type] = DenyList

    port_paths = fields.List(fields.String())
    ports = fields.List(fields.Integer(strict=True))
    notebooks = fields.List(fields.String())
    data_locations = fields.List(fields.String())
    s3_endpoints = fields.List(fields.String())
    ivoids = fields.List(fields.String())
    skao_namespaces = fields.List(fields.String())
    images = fields.List(fields.String())
    arguments = fields.List(fields.String())

    @post_load
    def to_settings(self, data: dict[str, Any], **_: Any) -> DenyList:
        """The lists as sets, to be looked up in."""
        return DenyList(**{name: frozenset(items) for name, items in data.items()})


class SimulatedSchema(SettingsSchema):
    """Section ``platform`` of type ``simulated``."""

    settings_class: ClassVar[type] = SimulatedSettings

    prepare_s = fields.Float(validate=_SECONDS)
    run_s = fields.Float(validate=_SECONDS)
    release_s = fields.Float(validate=_SECONDS)
    fail = fields.Dict(
        fields.Enum(JobStep, by_value=True), fields.Float(validate=validate.Range(min=0, max=1))
    )
    exit_code = fields.Integer(strict=True, validate=validate.Range(min=1, max=255))
    hang = fields.List(fields.Enum(JobStep, by_value=True))
    wishes = fields.Boolean()
    grace_s = fields.Float(validate=_SECONDS)
    log_bytes = fields.Integer(strict=True, validate=_NOT_NEGATIVE)

    @post_load
    def to_settings(self, data: dict[str, Any], **_: Any) -> SimulatedSettings:
        """The steps that hang as a set."""
        return SimulatedSettings(**{**data, "hang": frozenset(data.get("hang", ()))})


class PlatformSchema(TypedSettingsSchema):
    """Section ``platform``."""

    type_field = "type"
    type_schemas = {  # noqa: RUF012  # declared so by its base
        "simulated": SimulatedSchema(),
        "local": LocalSchema(),
        "docker": DockerSchema(),
    }


class WorkspaceSchema(SettingsSchema):
    """Section ``workspace``: of platforms whose jobs run in directories of ours."""

    settings_class: ClassVar[type] = WorkspaceSettings

    log_mib = fields.Integer(strict=True, validate=validate.Range(min=1, max=100_000))
    home_gib = fields.Integer(strict=True, validate=_POSITIVE)
    disk_check_s = fields.Float(validate=validate.Range(min=0.1, max=3600))
    stop_grace_s = fields.Float(validate=_SECONDS)


class ReconcilerSchema(SettingsSchema):
    """Section ``reconciler``."""

    settings_class: ClassVar[type] = ReconcilerSettings

    workers = fields.Integer(strict=True, validate=validate.Range(min=1, max=1000))
    attempts = fields.Integer(strict=True, validate=_POSITIVE)
    backoff_s = fields.Float(validate=_SECONDS)
    max_backoff_s = fields.Float(validate=_SECONDS)
    call_timeout_s = fields.Float(validate=_SECONDS)
    stop_s = fields.Float(validate=_SECONDS)
    release_s = fields.Float(validate=_SECONDS)
    archive_s = fields.Float(validate=_SECONDS)


class RetentionSchema(SettingsSchema):
    """Section ``retention``."""

    settings_class: ClassVar[type] = RetentionSettings

    offersets_days = fields.Float(validate=_NOT_NEGATIVE)
    offers_s = fields.Float(validate=_NOT_NEGATIVE)
    results_days = fields.Float(validate=_NOT_NEGATIVE)
    results_gib = fields.Float(validate=_NOT_NEGATIVE)


class NodeSheddingSchema(SheddingSchema):
    """Section ``shedding``."""

    settings_class: ClassVar[type] = NodeSheddingSettings


class NodeSchema(ServerSchema):
    """The whole file."""

    settings_class: ClassVar[type] = NodeSettings

    database = fields.String(
        validate=validate.Regexp(r"sqlite:///.+\Z", error="must be sqlite:/// and a path")
    )
    name = fields.String(
        required=True,
        validate=validate.Regexp(
            r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z",
            error="must be letters, digits, dots, underscores and hyphens, at most 64",
        ),
    )
    site = fields.String(allow_none=True)
    storage = fields.List(fields.String(validate=validate.Length(min=1)))
    regions = fields.List(fields.String(validate=validate.Length(min=1)))
    join = JoinsField()
    capacity = fields.Nested(AmountsSchema(), required=True)
    limits = fields.Nested(AmountsSchema())
    offers = fields.Nested(OfferSchema())
    costs = fields.Nested(FiguresSchema())
    metrics = fields.Nested(FiguresSchema())
    deny = fields.Nested(DenySchema())
    platform = fields.Nested(PlatformSchema())
    workspace = fields.Nested(WorkspaceSchema())
    staging = fields.Nested(StagingSchema())
    reconciler = fields.Nested(ReconcilerSchema())
    retention = fields.Nested(RetentionSchema())
    shedding = fields.Nested(NodeSheddingSchema())

    @validates_schema
    def check_amounts(self, data: dict[str, Any], **_: Any) -> None:
        """One request may not take more than the site has."""
        limits, capacity = data.get("limits"), data.get("capacity")
        if limits is not None and capacity is not None and not limits.fits_in(capacity):
            raise ValidationError("must not be above capacity", "limits")


def load_node_settings(path: Path, environ: Mapping[str, str] | None = None) -> NodeSettings:
    """The settings in a file.

    Raises
    ------
    gateway.httpkit.settings.SettingsError
        With everything that is wrong with it.
    """
    settings: NodeSettings = load_settings(path, NodeSchema(), environ)
    return settings
