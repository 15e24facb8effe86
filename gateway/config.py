"""The gateway's settings file: its schema, and the settings it becomes."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, validate, validates_schema

from gateway.domain.node import (
    BasicCredentials,
    BearerCredentials,
    NoCredentials,
    NodeCredentials,
    NodeProfile,
    PassThroughCredentials,
)
from gateway.domain.policies import PolicyError, policies_from_settings
from gateway.health_schema import HealthSchema
from gateway.httpkit.server_settings import ServerSchema, ServerSettings
from gateway.httpkit.settings import (
    Secret,
    SecretField,
    SettingsSchema,
    TypedSettingsSchema,
    load_settings,
)
from gateway.httpkit.shedding import SheddingSettings
from gateway.lake_schemas import CaFileField, LakeSectionsSchema
from gateway.lake_settings import LakeSections
from gateway.settings import (
    AskingSettings,
    CommandSettings,
    FederationSettings,
    HealthSettings,
    PlacementSettings,
    PostgresSettings,
    SessionSettings,
    TransportSettings,
    TransportType,
)
from gateway.stores.engines import database_of

_NAME: Final = validate.Regexp(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z",
    error="must be 1 to 64 letters, digits, dots, underscores or hyphens",
)
_SECONDS: Final = validate.Range(min=0, min_inclusive=False, max=86_400)


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicSettings:
    """A service account at a node, HTTP Basic."""

    username: str
    password: Secret

    def to_credentials(self) -> NodeCredentials:
        """What the node is spoken to with."""
        return BasicCredentials(self.username, self.password.reveal())


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerSettings:
    """A service account at a node, with a token."""

    token: Secret

    def to_credentials(self) -> NodeCredentials:
        """What the node is spoken to with."""
        return BearerCredentials(self.token.reveal())


@dataclass(frozen=True, slots=True, kw_only=True)
class PassThroughSettings:
    """The caller's own credentials are handed on."""

    def to_credentials(self) -> NodeCredentials:
        """What the node is spoken to with."""
        return PassThroughCredentials()


@dataclass(frozen=True, slots=True, kw_only=True)
class NoCredentialsSettings:
    """The node asks for none."""

    def to_credentials(self) -> NodeCredentials:
        """What the node is spoken to with."""
        return NoCredentials()


CredentialsSettings = BasicSettings | BearerSettings | PassThroughSettings | NoCredentialsSettings
"""Every way a node can be told who asks, as the settings file says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """One node of the federation.

    ``storage`` names the Rucio storage elements near it. ``reports_memory`` is false for nodes
    whose memory figures repeat their cores, as upstream's do; ``simple_data`` is for nodes that
    refuse SKAO and Rucio data, as upstream's do: they get the URL of the nearest replica.
    """

    name: str
    url: str
    site: str | None = None
    storage: tuple[str, ...] = ()
    credentials: CredentialsSettings = field(default_factory=NoCredentialsSettings)
    enabled: bool = True
    max_in_flight: int = 64
    reports_memory: bool = True
    simple_data: bool = False

    def to_profile(self) -> NodeProfile:
        """The node as the rest of the gateway knows it."""
        return NodeProfile(
            name=self.name,
            url=self.url.rstrip("/"),
            site=self.site,
            storage=self.storage,
            credentials=self.credentials.to_credentials(),
            is_enabled=self.enabled,
            max_in_flight=self.max_in_flight,
            reports_memory=self.reports_memory,
            simple_data=self.simple_data,
        )


@dataclass(frozen=True, kw_only=True)
class GatewaySettings(ServerSettings, LakeSections):
    """Everything in the gateway's settings file; ``policies`` as in ``policies_from_settings``."""

    database: str = "sqlite:///gateway.db"
    database_password: Secret | None = None
    postgres: PostgresSettings = field(default_factory=PostgresSettings)
    nodes: tuple[NodeSettings, ...] = ()
    federation: FederationSettings = field(default_factory=FederationSettings)
    transport: TransportSettings = field(default_factory=TransportSettings)
    asking: AskingSettings = field(default_factory=AskingSettings)
    shedding: SheddingSettings = field(default_factory=SheddingSettings)
    health: HealthSettings = field(default_factory=HealthSettings)
    placement: PlacementSettings = field(default_factory=PlacementSettings)
    sessions: SessionSettings = field(default_factory=SessionSettings)
    commands: CommandSettings = field(default_factory=CommandSettings)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def health_of_nodes(self) -> HealthSettings:
        """``health`` as it fits the deadline: half of that is a fair time for any node."""
        fair_wait_s = min(self.health.fair_wait_s, self.federation.deadline_s / 2)
        return replace(self.health, fair_wait_s=fair_wait_s)

    @property
    def locates_data(self) -> bool:
        """Whether there is anything to find data with."""
        return bool(self.data_lake) or any(site.hosts for site in self.sites.values())


class _BasicSchema(SettingsSchema):
    settings_class: ClassVar[type] = BasicSettings

    username = fields.String(required=True, validate=validate.Length(min=1))
    password = SecretField(required=True)


class _BearerSchema(SettingsSchema):
    settings_class: ClassVar[type] = BearerSettings

    token = SecretField(required=True)


class _PassThroughSchema(SettingsSchema):
    settings_class: ClassVar[type] = PassThroughSettings


class _NoCredentialsSchema(SettingsSchema):
    settings_class: ClassVar[type] = NoCredentialsSettings


class _CredentialsSchema(TypedSettingsSchema):
    type_schemas = {  # noqa: RUF012  # an instance attribute in the library
        "basic": _BasicSchema(),
        "bearer": _BearerSchema(),
        "pass_through": _PassThroughSchema(),
        "none": _NoCredentialsSchema(),
    }


class _NodeSchema(SettingsSchema):
    settings_class: ClassVar[type] = NodeSettings

    name = fields.String(required=True, validate=_NAME)
    url = fields.URL(required=True, schemes={"http", "https"}, require_tld=False)
    site = fields.String(validate=_NAME)
    storage = fields.List(fields.String(validate=validate.Length(min=1)))
    credentials = fields.Nested(_CredentialsSchema())
    enabled = fields.Boolean(truthy={True}, falsy={False})
    max_in_flight = fields.Integer(strict=True, validate=validate.Range(min=1, max=10_000))
    reports_memory = fields.Boolean(truthy={True}, falsy={False})
    simple_data = fields.Boolean(truthy={True}, falsy={False})


class _FederationSchema(SettingsSchema):
    settings_class: ClassVar[type] = FederationSettings

    name = fields.String(validate=_NAME)
    deadline_s = fields.Float(validate=_SECONDS)
    max_wait_s = fields.Float(validate=_SECONDS)
    connect_s = fields.Float(validate=_SECONDS)
    margin_s = fields.Float(validate=validate.Range(min=0, max=60))
    limit = fields.Integer(strict=True, validate=validate.Range(min=1, max=1000))
    max_limit = fields.Integer(strict=True, validate=validate.Range(min=1, max=1000))
    per_node = fields.Integer(strict=True, validate=validate.Range(min=1, max=1000))
    policy = fields.String(validate=_NAME)
    late_s = fields.Float(validate=validate.Range(min=0, max=3600))
    hop_limit = fields.Integer(strict=True, validate=validate.Range(min=1, max=32))
    refusal_memory_s = fields.Float(validate=validate.Range(min=0, max=86_400))


class _TransportSchema(SettingsSchema):
    settings_class: ClassVar[type] = TransportSettings

    type = fields.Enum(TransportType, by_value=True)
    max_reply_bytes = fields.Integer(
        strict=True, validate=validate.Range(min=64 << 10, max=256 << 20)
    )
    keepalive_s = fields.Float(validate=validate.Range(min=0, max=3600))
    dns_cache_s = fields.Float(validate=validate.Range(min=0, max=86_400))
    ca_file = CaFileField()


class _AskingSchema(SettingsSchema):
    settings_class: ClassVar[type] = AskingSettings

    all_up_to = fields.Integer(strict=True, validate=validate.Range(min=1, max=10_000))
    wave_size = fields.Integer(strict=True, validate=validate.Range(min=1, max=10_000))
    wave_explored = fields.Integer(strict=True, validate=validate.Range(min=0, max=10_000))
    max_holds = fields.Integer(strict=True, validate=validate.Range(min=1, max=100_000))
    own_limit_floor_s = fields.Float(validate=validate.Range(min=0.01, max=86_400))
    hedge_share = fields.Float(validate=validate.Range(min=0, max=1))


class _SheddingSchema(SettingsSchema):
    settings_class: ClassVar[type] = SheddingSettings

    max_heavy = fields.Integer(strict=True, validate=validate.Range(min=8, max=100_000))
    start_heavy = fields.Integer(strict=True, validate=validate.Range(min=4, max=100_000))
    max_requests = fields.Integer(strict=True, validate=validate.Range(min=8, max=1_000_000))
    high_lag_s = fields.Float(validate=validate.Range(min=0.01, max=60))
    low_lag_s = fields.Float(validate=validate.Range(min=0.005, max=60))

    @validates_schema
    def check_lags(self, data: dict[str, Any], **_: Any) -> None:
        """Between the two marks nothing changes; without a gap the limit would flutter."""
        usual = SheddingSettings()
        low_s = data.get("low_lag_s", usual.low_lag_s)
        high_s = data.get("high_lag_s", usual.high_lag_s)
        if low_s >= high_s:
            raise ValidationError("must be less than shedding.high_lag_s", "low_lag_s")


class _PlacementSchema(SettingsSchema):
    settings_class: ClassVar[type] = PlacementSettings

    locate_s = fields.Float(validate=validate.Range(min=0, max=60))
    locate_share = fields.Float(validate=validate.Range(min=0, max=0.9))
    usual_gbit_s = fields.Float(validate=validate.Range(min=0.001, max=100_000))
    setup_s = fields.Float(validate=validate.Range(min=0, max=86_400))
    tape_s = fields.Float(validate=validate.Range(min=0, max=604_800))
    shows_replicas = fields.Boolean(truthy={True}, falsy={False})


class _PostgresSchema(SettingsSchema):
    settings_class: ClassVar[type] = PostgresSettings

    connections = fields.Integer(strict=True, validate=validate.Range(min=2, max=1000))
    connect_s = fields.Float(validate=validate.Range(min=0.05, max=60))
    command_s = fields.Float(validate=validate.Range(min=0.05, max=300))


class _SessionsSchema(SettingsSchema):
    settings_class: ClassVar[type] = SessionSettings

    fresh_s = fields.Float(validate=validate.Range(min=0, max=3600))
    read_deadline_s = fields.Float(validate=_SECONDS)
    update_deadline_s = fields.Float(validate=_SECONDS)
    follow_s = fields.Float(validate=_SECONDS)
    offersets_days = fields.Float(validate=validate.Range(min=0))
    offers_s = fields.Float(validate=validate.Range(min=0))
    resubmit_after_s = fields.Float(validate=validate.Range(min=1, max=604_800))
    resubmit_limit = fields.Integer(strict=True, validate=validate.Range(min=0, max=100))


class _CommandsSchema(SettingsSchema):
    settings_class: ClassVar[type] = CommandSettings

    first_s = fields.Float(validate=_SECONDS)
    longest_s = fields.Float(validate=_SECONDS)
    give_up_s = fields.Float(validate=validate.Range(min=1))
    cancel_days = fields.Float(validate=validate.Range(min=0, min_inclusive=False, max=366))
    deadline_s = fields.Float(validate=_SECONDS)
    lease_s = fields.Float(validate=_SECONDS)
    at_once = fields.Integer(strict=True, validate=validate.Range(min=1, max=1000))

    @validates_schema
    def check_lease(self, data: dict[str, Any], **_: Any) -> None:
        """A command must not be claimed again while it is being delivered."""
        usual = CommandSettings()
        lease_s = data.get("lease_s", usual.lease_s)
        deadline_s = data.get("deadline_s", usual.deadline_s)
        if lease_s <= 2 * deadline_s:
            raise ValidationError(
                "must be longer than two deadlines (commands.deadline_s)", "lease_s"
            )


class GatewaySchema(ServerSchema, LakeSectionsSchema):
    """The whole settings file."""

    settings_class: ClassVar[type] = GatewaySettings

    database = fields.String()
    database_password = SecretField()
    postgres = fields.Nested(_PostgresSchema())
    nodes = fields.List(fields.Nested(_NodeSchema()))
    federation = fields.Nested(_FederationSchema())
    transport = fields.Nested(_TransportSchema())
    asking = fields.Nested(_AskingSchema())
    shedding = fields.Nested(_SheddingSchema())
    health = fields.Nested(HealthSchema())
    placement = fields.Nested(_PlacementSchema())
    sessions = fields.Nested(_SessionsSchema())
    commands = fields.Nested(_CommandsSchema())
    policies = fields.Dict(
        keys=fields.String(validate=_NAME),
        values=fields.Dict(keys=fields.String(), values=fields.Dict(keys=fields.String())),
    )

    @validates_schema
    def check_policies(self, data: dict[str, Any], **_: Any) -> None:
        """Say early that a policy is not understood, or that the default one does not exist."""
        try:
            policies = policies_from_settings(data.get("policies", {}))
        except PolicyError as error:
            raise ValidationError({"policies": list(error.faults)}) from error
        chosen = data.get("federation", FederationSettings()).policy
        if chosen not in policies:
            known = ", ".join(sorted(policies))
            raise ValidationError({"federation": {"policy": [f"must be one of {known}"]}})

    @validates_schema
    def check_names(self, data: dict[str, Any], **_: Any) -> None:
        """A node's name is how everything refers to it."""
        seen: set[str] = set()
        for index, node in enumerate(data.get("nodes", ())):
            if node.name in seen:
                raise ValidationError({"nodes": {index: {"name": ["is taken by another node"]}}})
            seen.add(node.name)

    @validates_schema
    def check_database(self, data: dict[str, Any], **_: Any) -> None:
        """Say early that a database cannot be used."""
        if "database" in data:
            try:
                database_of(data["database"], Path())
            except ValueError as error:
                raise ValidationError(str(error), "database") from error


def load_gateway_settings(path: Path) -> GatewaySettings:
    """The settings in a file.

    Raises
    ------
    SettingsError
        With everything that is wrong with the file.
    """
    settings = load_settings(path, GatewaySchema())
    assert isinstance(settings, GatewaySettings)
    return settings
