"""Settings of the platform `local`."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, validate, validates_schema

from gateway.httpkit.settings import SettingsSchema

SYSTEM_PATHS: Final = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/fonts",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/pki",
    "/etc/resolv.conf",
    "/etc/ssl",
)
"""What programs of the usual distributions need to see; those that a machine lacks are left out."""

DEFAULT_PROCESSES: Final = 512
"""Enough for a build or a notebook with a thread pool on every core; far from hurting others."""

_DIGEST: Final = re.compile(r"[a-z0-9]+:[0-9a-f]{32,}")
_ABSOLUTE: Final = validate.Regexp(r"/", error="must be an absolute path")
_POSITIVE: Final = validate.Range(min=1)
_SECONDS: Final = validate.Range(min=0, max=86_400)


class SandboxChoice(StrEnum):
    """Which sandbox jobs run in; AUTO is the best that works."""

    AUTO = "auto"
    BUBBLEWRAP = "bubblewrap"
    NAMESPACES = "namespaces"
    PLAIN = "plain"


class Network(StrEnum):
    """What jobs can reach: nothing, or what the node itself can."""

    NONE = "none"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSettings:
    """A program of the site's that stands for container images.

    ``images`` are the locations that a request may name. ``digest`` is of the image that the
    program was taken from: a request's digest must equal it. ``command`` begins with an absolute
    path; the request's arguments follow it. ``entrypoints`` are further commands by the name under
    which a request asks for them.
    """

    images: tuple[str, ...]
    digest: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookSettings:
    """How notebooks run: a Python that has papermill, ipykernel and nbconvert, and its kernel.

    The job sees that Python's own directories, and ``paths`` besides.
    """

    python: str = field(default_factory=lambda: sys.executable)
    kernel: str = "python3"
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """What runs on this machine, and how it is kept in bounds.

    ``paths`` of the machine are visible to every job, read-only. ``processes`` bounds those of one
    job. ``grace_s`` is between the request to end and the end by force of a job that is over its
    time while there is no broker; ``backstop_s`` is how long after the booked end that is.
    ``run_as_uid`` is the user and group that jobs of a broker run by root have; without, `nobody`.
    ``cgroup`` is where control groups are made, as a path in each hierarchy; without, the broker's
    own group.
    """

    programs: tuple[ProgramSettings, ...] = ()
    notebook: NotebookSettings | None = None
    sandbox: SandboxChoice = SandboxChoice.AUTO
    paths: tuple[str, ...] = SYSTEM_PATHS
    network: Network = Network.HOST
    processes: int = DEFAULT_PROCESSES
    grace_s: float = 10.0
    backstop_s: float = 30.0
    run_as_uid: int | None = None
    cgroup: str | None = None


class CommandField(fields.Field[tuple[str, ...]]):
    """A command line: an absolute path and arguments."""

    def _deserialize(
        self,
        value: Any,
        attr: str | None,  # noqa: ARG002  # marshmallow passes it
        data: Any,  # noqa: ARG002  # marshmallow passes it
        **kwargs: Any,  # noqa: ARG002  # marshmallow passes them
    ) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            raise ValidationError("must be a list: a program and its arguments")
        if not all(isinstance(word, str) and "\0" not in word for word in value):
            raise ValidationError("must be a list of texts")
        if not value[0].startswith("/"):
            raise ValidationError("must begin with an absolute path")
        return tuple(value)


class ProgramSchema(SettingsSchema):
    """One entry of ``programs``."""

    settings_class: ClassVar[type] = ProgramSettings

    images = fields.List(
        fields.String(validate=validate.Length(min=1)),
        required=True,
        validate=validate.Length(min=1),
    )
    digest = fields.String(
        required=True, validate=validate.Regexp(_DIGEST, error="must be like sha256:0a1b…")
    )
    command = CommandField(required=True)
    environment = fields.Dict(keys=fields.String(), values=fields.String())
    entrypoints = fields.Dict(keys=fields.String(), values=CommandField())


class NotebookSchema(SettingsSchema):
    """Section ``notebook``."""

    settings_class: ClassVar[type] = NotebookSettings

    python = fields.String(validate=_ABSOLUTE)
    kernel = fields.String(validate=validate.Length(min=1))
    paths = fields.List(fields.String(validate=_ABSOLUTE))


class LocalSchema(SettingsSchema):
    """Section ``platform`` of type ``local``."""

    settings_class: ClassVar[type] = LocalSettings

    programs = fields.List(fields.Nested(ProgramSchema()))
    notebook = fields.Nested(NotebookSchema(), allow_none=True)
    sandbox = fields.Enum(SandboxChoice, by_value=True)
    paths = fields.List(fields.String(validate=_ABSOLUTE))
    network = fields.Enum(Network, by_value=True)
    processes = fields.Integer(strict=True, validate=_POSITIVE)
    grace_s = fields.Float(validate=_SECONDS)
    backstop_s = fields.Float(validate=_SECONDS)
    run_as_uid = fields.Integer(strict=True, allow_none=True, validate=_POSITIVE)
    cgroup = fields.String(allow_none=True, validate=_ABSOLUTE)

    @validates_schema
    def check_programs(self, data: dict[str, Any], **_: Any) -> None:
        """No image and digest stand for two programs."""
        seen: set[tuple[str, str]] = set()
        for number, program in enumerate(data.get("programs", ())):
            for image in program.images:
                if (image, program.digest) in seen:
                    raise ValidationError({"programs": {number: [f"{image} is given twice"]}})
                seen.add((image, program.digest))
