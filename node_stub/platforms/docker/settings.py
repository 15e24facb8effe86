"""Section ``platform`` of type ``docker``: where the engine is, and what it may do for a job."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, validate, validates_schema

from gateway.httpkit.settings import SettingsSchema

INPUT_DIRECTORY: Final = "/session-input"
"""Where a notebook to run lies in its container, read-only."""

HEADLESS_COMMAND: Final = (
    "/bin/sh",
    "-c",
    # The page is made also of a notebook that failed: it shows where.
    "python3 -m papermill --no-progress-bar --log-level WARNING --stdout-file - --stderr-file -"
    ' "$@" /session-input/notebook.ipynb /session/notebook.ipynb'
    "; code=$?; python3 -m nbconvert --to html /session/notebook.ipynb; exit $code",
    "papermill",
)
"""Runs a notebook; the parameters follow as papermill's own arguments."""

INTERACTIVE_COMMAND: Final = (
    "python3",
    "-m",
    "jupyterlab",
    "--allow-root",
    "--no-browser",
    "--ip=0.0.0.0",
    "--port=8888",
    "--ServerApp.root_dir=/session",
)
"""A Jupyter server; its token comes in JUPYTER_TOKEN, which it reads itself."""


class PullPolicy(StrEnum):
    """When a registry is asked for an image."""

    MISSING = "missing"
    NEVER = "never"
    ALWAYS = "always"


class NetworkMode(StrEnum):
    """What a container without ports can reach: everything that the machine can, or nothing."""

    BRIDGE = "bridge"
    NONE = "none"


class JobUser(StrEnum):
    """As whom a job runs: the image's user, or the broker's own numbers.

    A rootless engine maps the image's root to the broker's user. With an engine of root's and a
    broker that is not root, only ``broker`` leaves files that the broker can remove.
    """

    IMAGE = "image"
    BROKER = "broker"


class Propagation(StrEnum):
    """Whether file systems that are mounted later on the machine appear in running containers."""

    PRIVATE = "rprivate"
    SLAVE = "rslave"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteMount:
    """A directory of the machine that every container sees, read-only: a software tree."""

    source: str
    target: str
    propagation: Propagation = Propagation.PRIVATE


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookSettings:
    """How notebooks are run.

    ``digest`` pins the image. ``command`` is by default :data:`HEADLESS_COMMAND`, with the
    notebook's parameters as arguments, or :data:`INTERACTIVE_COMMAND` where ``interactive``: then
    the server at ``port`` is what the user is told of, at ``path``.
    """

    image: str
    digest: str | None = None
    interactive: bool = False
    command: tuple[str, ...] | None = None
    port: int = 8888
    path: str = "/lab"


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerSettings:
    """A Docker Engine or a Podman service, and what it may do for jobs.

    ``publish_address`` is where published ports listen, ``public_host`` how users reach it.
    ``registries`` are patterns of registry hosts, with ``*``. ``pull_timeout_s`` bounds one pull,
    ``pull_retry_s`` how long a registry that cannot be reached is asked again, and
    ``pull_estimate_s`` is what offers say of an image that is not there.
    """

    socket: str = "unix:///var/run/docker.sock"
    publish_address: str = "127.0.0.1"
    public_host: str | None = None
    pull: PullPolicy = PullPolicy.MISSING
    pull_timeout_s: float = 600.0
    pull_retry_s: float = 30.0
    pull_estimate_s: int = 60
    registries: tuple[str, ...] = ("*",)
    capabilities: tuple[str, ...] = ()
    read_only_root: bool = True
    processes: int = 512
    tmpfs_mib: int = 256
    network: NetworkMode = NetworkMode.NONE
    user: JobUser = JobUser.IMAGE
    site_mounts: tuple[SiteMount, ...] = ()
    notebook: NotebookSettings | None = None
    label: str = "org.execbroker"

    @property
    def socket_path(self) -> str:
        """The socket's path."""
        return self.socket.removeprefix("unix://")

    @property
    def reached_at(self) -> str:
        """The host that users are told."""
        return self.public_host or self.publish_address


_ABSOLUTE = validate.Regexp(r"/[^\0]*\Z", error="must be an absolute path")
_POSITIVE = validate.Range(min=1)
_SECONDS = validate.Range(min=0, max=86_400)
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104  # a setting is compared with it
_NOT_EMPTY = validate.Length(min=1)


class SiteMountSchema(SettingsSchema):
    """One of ``site_mounts``."""

    settings_class: ClassVar[type] = SiteMount

    source = fields.String(required=True, validate=_ABSOLUTE)
    target = fields.String(required=True, validate=_ABSOLUTE)
    propagation = fields.Enum(Propagation, by_value=True)


class NotebookSchema(SettingsSchema):
    """Section ``notebook``."""

    settings_class: ClassVar[type] = NotebookSettings

    image = fields.String(required=True, validate=_NOT_EMPTY)
    digest = fields.String(
        validate=validate.Regexp(
            r"sha256:[0-9a-f]{64}\Z", error="must be sha256: and 64 hexadecimal digits"
        )
    )
    interactive = fields.Boolean()
    command = fields.List(fields.String(), validate=_NOT_EMPTY)
    port = fields.Integer(strict=True, validate=validate.Range(min=1, max=65_535))
    path = fields.String(validate=_ABSOLUTE)


class DockerSchema(SettingsSchema):
    """Section ``platform`` of type ``docker``."""

    settings_class: ClassVar[type] = DockerSettings

    socket = fields.String(
        validate=validate.Regexp(
            r"unix:///.+\Z", error="must be unix:// and the absolute path of a socket"
        )
    )
    publish_address = fields.String(validate=_NOT_EMPTY)
    public_host = fields.String(allow_none=True, validate=_NOT_EMPTY)
    pull = fields.Enum(PullPolicy, by_value=True)
    pull_timeout_s = fields.Float(validate=_SECONDS)
    pull_retry_s = fields.Float(validate=_SECONDS)
    pull_estimate_s = fields.Integer(strict=True, validate=_SECONDS)
    registries = fields.List(fields.String(validate=_NOT_EMPTY))
    capabilities = fields.List(
        fields.String(
            validate=validate.Regexp(
                r"[A-Z_]+\Z", error="must be the name of a capability, in capitals, without CAP_"
            )
        )
    )
    read_only_root = fields.Boolean()
    processes = fields.Integer(strict=True, validate=_POSITIVE)
    tmpfs_mib = fields.Integer(strict=True, validate=_POSITIVE)
    network = fields.Enum(NetworkMode, by_value=True)
    user = fields.Enum(JobUser, by_value=True)
    site_mounts = fields.List(fields.Nested(SiteMountSchema()))
    notebook = fields.Nested(NotebookSchema(), allow_none=True)
    label = fields.String(
        validate=validate.Regexp(
            r"[a-z0-9]+([.-][a-z0-9]+)*\Z", error="must be lower case words with dots"
        )
    )

    @validates_schema
    def check_public_host(self, data: dict[str, Any], **_: Any) -> None:
        """Nobody can connect to all addresses at once."""
        if data.get("publish_address") in _EVERYWHERE and not data.get("public_host"):
            raise ValidationError("is needed where ports are published everywhere", "public_host")

    @validates_schema
    def check_capabilities(self, data: dict[str, Any], **_: Any) -> None:
        """All capabilities at once are a privileged container by another name."""
        if "ALL" in data.get("capabilities", ()):
            raise ValidationError("must not be ALL", "capabilities")
