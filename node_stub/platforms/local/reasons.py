"""What the platform `local` tells clients: why it refuses, and how it would run what it offers."""

from typing import Final

from gateway.wire.phases import MessageLevel
from node_stub.reasons import Reason

PROGRAM_UNKNOWN: Final = Reason(
    "urn:program-unknown", "No program for any of these images is provided here [${images}]"
)
DIGEST_DIFFERS: Final = Reason(
    "urn:image-digest", "The program here is of another image [${offered}], asked for [${digest}]"
)
PROGRAM_MISSING: Final = Reason(
    "urn:program-missing", "The program for this image cannot be run now [${detail}]"
)
ENTRYPOINT_UNKNOWN: Final = Reason(
    "urn:bad-value", "The program has no such entrypoint [${value}], only [${known}]"
)
ARGUMENT_BAD: Final = Reason(
    "urn:bad-value", "A command argument must be text without a zero character"
)
ENVIRONMENT_NAME: Final = Reason(
    "urn:bad-value", "This cannot be the name of an environment variable [${name}]"
)
ENVIRONMENT_RESERVED: Final = Reason(
    "urn:bad-value", "This environment variable cannot be set here [${name}]"
)
ENVIRONMENT_VALUE: Final = Reason(
    "urn:bad-value",
    "The value of an environment variable must be text without a zero character [${name}]",
)
PARAMETER_NAME: Final = Reason(
    "urn:bad-value", "This cannot be the name of a notebook parameter [${name}]"
)
PORTS_UNSUPPORTED: Final = Reason(
    "urn:ports-unsupported", "Programs and notebooks here publish no ports [${port}]"
)
ARCHITECTURE_DIFFERS: Final = Reason(
    "urn:platform", "The machine here is of another kind [${offered}], asked for [${value}]"
)
NOTEBOOK_UNAVAILABLE: Final = Reason(
    "urn:notebook-unavailable", "Notebooks cannot be run here now [${detail}]"
)
VOLUME_READ_ONLY: Final = Reason(
    "urn:volume-mode", "The sandbox here [${sandbox}] cannot keep a volume from being written to"
)
VOLUME_ABSOLUTE: Final = Reason(
    "urn:volume-path",
    "The sandbox here [${sandbox}] mounts only below the session's home [${value}]",
)
VOLUME_RESERVED: Final = Reason(
    "urn:volume-path", "The volume path leads out of its place or hides the system's [${value}]"
)
RUNS_IN: Final = Reason(
    "urn:sandbox",
    "Runs as a process in the sandbox [${sandbox}] as user [${user}], network [${network}]; limits:"
    " memory by [${memory}], cores by [${cores}], processes by [${processes}],"
    " file size by [rlimit], time by [the job's own supervisor]",
    MessageLevel.INFO,
)
