"""The gateway's settings file: its schema, and the settings it becomes."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, validate, validates_schema

from gateway.domain.node import NodeProfile, PassThroughCredentials
from gateway.domain.permissions import Permissions
from gateway.domain.policies import PolicyError, policies_from_settings
from gateway.httpkit.files import CaFileField, FileField
from gateway.httpkit.membership.settings import JoinSettings, JoinsField
from gateway.httpkit.server_settings import ServerSchema, ServerSettings
from gateway.httpkit.settings import NAME, SecretField, SettingsSchema, load_settings
from gateway.httpkit.shedding_settings import WAIT_SHARE, SheddingSchema, SheddingSettings
from gateway.httpkit.tls import check_files
from gateway.httpkit.url_field import HttpUrlField
from gateway.sections.audit import AuditSchema
from gateway.sections.credentials import (
    CredentialsField,
    CredentialsSettings,
    NoCredentialsSettings,
    fixed,
)
from gateway.sections.discovery import DiscoverySchema
from gateway.sections.drafts import DraftSchema
from gateway.sections.events import EventsSchema, WebhooksSchema, check_secret_key
from gateway.sections.health import HealthSchema
from gateway.sections.lake_settings import LakeSections
from gateway.sections.lakes import LakeSectionsSchema
from gateway.sections.permissions import PermissionsSchema
from gateway.sections.registration import RegistrationSchema, check_node_url
from gateway.sections.sessions import CommandsSchema, SessionsSchema
from gateway.settings import (
    AskingSettings,
    AuditSettings,
    CommandSettings,
    DiscoverySettings,
    DraftSettings,
    EventSettings,
    FederationSettings,
    HealthSettings,
    PlacementSettings,
    PostgresSettings,
    RegistrationSettings,
    SessionSettings,
    TransportSettings,
    TransportType,
    WebhookSettings,
)
from gateway.stores.engines import database_of
from gateway.wire.certificates import CertificateFiles
from gateway.wire.secret import Secret

_SECONDS: Final = validate.Range(min=0, min_inclusive=False, max=86_400)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """One node of the federation.

    ``storage`` names the Rucio storage elements near it. ``reports_memory`` is false for nodes
    whose memory figures repeat their cores, as upstream's do; ``simple_data`` is for nodes that
    refuse SKAO and Rucio data, as upstream's do: they get the URL of the nearest replica. It is
    asked for ``owners`` and members of ``groups`` alone, where any are given. ``weight`` is how
    promising it counts beside the others where not all are asked. Of the ``credentials``, each
    stands in for those before it.
    """

    name: str
    url: str
    site: str | None = None
    storage: tuple[str, ...] = ()
    credentials: tuple[CredentialsSettings, ...] = (NoCredentialsSettings(),)
    enabled: bool = True
    max_in_flight: int = 64
    reports_memory: bool = True
    simple_data: bool = False
    owners: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    weight: float = 1.0

    def to_profile(self) -> NodeProfile:
        """The node as the rest of the gateway knows it."""
        return NodeProfile(
            name=self.name,
            url=self.url.rstrip("/"),
            site=self.site,
            storage=self.storage,
            # Otherwise the caller's own go along, for whoever makes others of them.
            credentials=fixed(self.credentials) or PassThroughCredentials(),
            is_enabled=self.enabled,
            max_in_flight=self.max_in_flight,
            reports_memory=self.reports_memory,
            simple_data=self.simple_data,
            owners=frozenset(self.owners),
            groups=frozenset(self.groups),
            regions=self.regions,
            weight=self.weight,
        )


@dataclass(frozen=True, kw_only=True)
class GatewaySettings(ServerSettings, LakeSections):
    """Everything in the gateway's settings file; ``policies`` as in ``policies_from_settings``."""

    database: str = "sqlite:///gateway.db"
    database_password: Secret | None = None
    secret_key: Secret | None = None
    postgres: PostgresSettings = field(default_factory=PostgresSettings)
    nodes: tuple[NodeSettings, ...] = ()
    join: tuple[JoinSettings, ...] = ()
    federation: FederationSettings = field(default_factory=FederationSettings)
    transport: TransportSettings = field(default_factory=TransportSettings)
    asking: AskingSettings = field(default_factory=AskingSettings)
    shedding: SheddingSettings = field(default_factory=SheddingSettings)
    health: HealthSettings = field(default_factory=HealthSettings)
    placement: PlacementSettings = field(default_factory=PlacementSettings)
    sessions: SessionSettings = field(default_factory=SessionSettings)
    commands: CommandSettings = field(default_factory=CommandSettings)
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)
    discovery: DiscoverySettings = field(default_factory=DiscoverySettings)
    drafts: DraftSettings = field(default_factory=DraftSettings)
    events: EventSettings = field(default_factory=EventSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    permissions: Permissions = field(default_factory=Permissions)
    audit: AuditSettings = field(default_factory=AuditSettings)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def health_of_nodes(self) -> HealthSettings:
        """``health`` as it fits the deadline: half of that is a fair time for any node."""
        fair_wait_s = min(self.health.fair_wait_s, self.federation.deadline_s / 2)
        return replace(self.health, fair_wait_s=fair_wait_s)

    @property
    def shedding_in_time(self) -> SheddingSettings:
        """``shedding`` as it fits the deadline: of that only a share may go by in waiting."""
        deadline_s = self.federation.deadline_s
        max_wait_s = min(self.shedding.max_wait_s, deadline_s * WAIT_SHARE)
        return replace(self.shedding, max_wait_s=max_wait_s, answer_s=deadline_s)

    @property
    def locates_data(self) -> bool:
        """Whether there is anything to find data with."""
        return bool(self.data_lake) or any(site.hosts for site in self.sites.values())


class _NodeSchema(SettingsSchema):
    settings_class: ClassVar[type] = NodeSettings

    name = fields.String(required=True, validate=NAME)
    url = HttpUrlField(required=True, validate=check_node_url)
    site = fields.String(validate=NAME)
    storage = fields.List(fields.String(validate=validate.Length(min=1)))
    credentials = CredentialsField()
    enabled = fields.Boolean(truthy={True}, falsy={False})
    max_in_flight = fields.Integer(strict=True, validate=validate.Range(min=1, max=10_000))
    reports_memory = fields.Boolean(truthy={True}, falsy={False})
    simple_data = fields.Boolean(truthy={True}, falsy={False})
    owners = fields.List(fields.String(validate=validate.Length(min=1)))
    groups = fields.List(fields.String(validate=validate.Length(min=1)))
    regions = fields.List(fields.String(validate=NAME))
    weight = fields.Float(validate=validate.Range(min=0, max=100))


class _FederationSchema(SettingsSchema):
    settings_class: ClassVar[type] = FederationSettings

    name = fields.String(validate=NAME)
    deadline_s = fields.Float(validate=_SECONDS)
    max_wait_s = fields.Float(validate=_SECONDS)
    connect_s = fields.Float(validate=_SECONDS)
    margin_s = fields.Float(validate=validate.Range(min=0, max=60))
    limit = fields.Integer(strict=True, validate=validate.Range(min=1, max=1000))
    max_limit = fields.Integer(strict=True, validate=validate.Range(min=1, max=1000))
    per_node = fields.Integer(strict=True, validate=validate.Range(min=1, max=1000))
    policy = fields.String(validate=NAME)
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
    certificate = FileField()
    key = FileField()

    @validates_schema
    def check_files(self, data: dict[str, Any], **_: Any) -> None:
        """Say early that a certificate cannot be shown."""
        if "key" in data and "certificate" not in data:
            raise ValidationError("belongs to a certificate, which is missing", "key")
        check_files(CertificateFiles(data.get("certificate"), data.get("key")))


class _AskingSchema(SettingsSchema):
    settings_class: ClassVar[type] = AskingSettings

    all_up_to = fields.Integer(strict=True, validate=validate.Range(min=1, max=10_000))
    wave_size = fields.Integer(strict=True, validate=validate.Range(min=1, max=10_000))
    wave_explored = fields.Integer(strict=True, validate=validate.Range(min=0, max=10_000))
    max_holds = fields.Integer(strict=True, validate=validate.Range(min=1, max=100_000))
    own_limit_floor_s = fields.Float(validate=validate.Range(min=0.01, max=86_400))
    hedge_share = fields.Float(validate=validate.Range(min=0, max=1))


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


class GatewaySchema(ServerSchema, LakeSectionsSchema):
    """The whole settings file."""

    settings_class: ClassVar[type] = GatewaySettings

    database = fields.String()
    database_password = SecretField()
    secret_key = SecretField(validate=check_secret_key)
    postgres = fields.Nested(_PostgresSchema())
    nodes = fields.List(fields.Nested(_NodeSchema()))
    join = JoinsField()
    federation = fields.Nested(_FederationSchema())
    transport = fields.Nested(_TransportSchema())
    asking = fields.Nested(_AskingSchema())
    shedding = fields.Nested(SheddingSchema())
    health = fields.Nested(HealthSchema())
    placement = fields.Nested(_PlacementSchema())
    sessions = fields.Nested(SessionsSchema())
    commands = fields.Nested(CommandsSchema())
    registration = fields.Nested(RegistrationSchema())
    discovery = fields.Nested(DiscoverySchema())
    drafts = fields.Nested(DraftSchema())
    events = fields.Nested(EventsSchema())
    webhooks = fields.Nested(WebhooksSchema())
    permissions = fields.Nested(PermissionsSchema())
    audit = fields.Nested(AuditSchema())
    policies = fields.Dict(
        keys=fields.String(validate=NAME),
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
    def check_join(self, data: dict[str, Any], **_: Any) -> None:
        """What gateways give this one is kept in the database, sealed."""
        if data.get("join") and "secret_key" not in data:
            raise ValidationError("needs secret_key_env or secret_key_file", "join")

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
