"""What this platform tells clients of the offers it makes or refuses."""

from typing import Final

from gateway.wire.phases import MessageLevel
from node_stub.reasons import Reason

REGISTRY_DENIED: Final = Reason(
    "urn:bad-value", "DockerContainer - images from this registry are not run here [${value}]"
)
REFERENCE_SYNTAX: Final = Reason(
    "urn:invalid-value", "DockerContainer - not the name of an image [${value}]"
)
DIGEST_SYNTAX: Final = Reason(
    "urn:invalid-value",
    "DockerContainer - an image digest is sha256: and 64 hexadecimal digits [${value}]",
)
ENVIRONMENT_NAME: Final = Reason(
    "urn:invalid-value", "Not the name of an environment variable [${value}]"
)
NULL_CHARACTER: Final = Reason(
    "urn:invalid-value", "A program cannot be given a null character [${value}]"
)
VOLUME_HIDES: Final = Reason(
    "urn:invalid-value",
    "Volume path would hide, or lie in, what every container has [${value}][${hidden}]",
)
VOLUME_CHARACTERS: Final = Reason(
    "urn:invalid-value", "Volume path must be without colons, commas and controls [${value}]"
)
VOLUME_LEADS_OUT: Final = Reason(
    "urn:invalid-value", "Volume path must not lead upwards [${value}]"
)
UNENFORCED: Final = Reason(
    "urn:not-supported", "The container engine of this site cannot limit ${what}"
)
SANDBOX: Final = Reason(
    "urn:sandbox",
    "Container of ${engine}: capabilities kept [${capabilities}], no new privileges, "
    "root ${root}; processor, memory and at most ${processes} processes are limited, and by the "
    "broker the time",
    MessageLevel.INFO,
)
STORAGE_MEASURED: Final = Reason(
    "urn:storage-limit",
    "The container engine does not limit storage: its use is measured",
    MessageLevel.INFO,
)
