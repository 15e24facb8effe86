"""The catalogue of what this node tells its clients: message kinds, levels and texts.

A reason of level ERROR says why a request or an update is refused, or why a session failed; WARN,
that something asked for was changed; INFO, what could not be judged, or that all went well. Kinds
are those of the upstream service, spelt correctly and all beginning with ``urn:``.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.wire.documents import Document
from gateway.wire.messages import message
from gateway.wire.phases import MessageLevel

_ERROR = MessageLevel.ERROR


@dataclass(frozen=True, slots=True)
class Reason:
    """A kind of message: ``template`` names its values as ``${name}``."""

    kind: str
    template: str
    level: MessageLevel = _ERROR

    def message(self, time: datetime, /, **values: str) -> Document:
        """The message that gives this reason, complete."""
        return message(self.kind, self.level, self.template, values, time)


# The request as a whole.
EXECUTABLE_REQUIRED: Final = Reason(
    "urn:executable-required", "Description of the executable is required"
)
UNKNOWN_TYPE: Final = Reason("urn:unknown-type", "Unknown kind [${kind}][${name}]")
MORE_MESSAGES: Final = Reason(
    "urn:more-messages", "${count} further messages are left out", MessageLevel.INFO
)

# Schedule.
DURATION_SYNTAX: Final = Reason(
    "urn:input-syntax-fail", "Unable to parse duration [${string}][${message}]"
)
INTERVAL_SYNTAX: Final = Reason(
    "urn:input-syntax-fail", "Unable to parse interval [${string}][${message}]"
)
DAILY_SYNTAX: Final = Reason(
    "urn:input-syntax-fail", "Unable to parse daily window [${string}][${message}]"
)
DURATION_NOT_POSITIVE: Final = Reason(
    "urn:invalid-value", "Requested duration must be longer than nothing [${value}]"
)
DURATION_LIMIT: Final = Reason(
    "urn:resource-limit",
    "Requested duration exceeds the longest session [${resource}][${duration}][${limit}]",
)
START_PAST: Final = Reason(
    "urn:start-time", "Requested start is in the past [${value}], it is now [${now}]"
)
START_PAST_SKIPPED: Final = Reason(
    "urn:start-time",
    "Requested start is in the past [${value}], it is now [${now}]; the others are tried",
    MessageLevel.WARN,
)
START_TOO_SOON: Final = Reason(
    "urn:start-time",
    "Requested start cannot be met: preparing takes until [${earliest}], start by [${latest}]",
)
START_TOO_LATE: Final = Reason(
    "urn:start-time", "Requested start is too far ahead [${value}], bookings end at [${limit}]"
)
START_TOO_LATE_SKIPPED: Final = Reason(
    "urn:start-time",
    "Requested start is too far ahead [${value}], bookings end at [${limit}]; the others are tried",
    MessageLevel.WARN,
)
NO_START: Final = Reason("urn:start-time", "Requested start leaves no whole second to start at")
TOO_MANY_STARTS: Final = Reason(
    "urn:resource-limit", "Too many requested starts [${count}], at most [${limit}] are looked at"
)
DAILY_TOO_SHORT: Final = Reason(
    "urn:start-time", "Daily window leaves no time for the duration [${duration}]"
)

# Quantities of compute and storage.
NOT_POSITIVE: Final = Reason(
    "urn:invalid-value", "${component} - ${bound} ${quantity} must be at least one [${value}]"
)
MINIMUM_ABOVE_MAXIMUM: Final = Reason(
    "urn:invalid-value",
    "${component} - Minimum ${quantity} exceeds the maximum [${resource}][${min}][${max}]",
)
MINIMUM_LIMIT: Final = Reason(
    "urn:resource-limit",
    "${component} - Minimum ${quantity} exceeds available resources"
    " [${resource}][${value}][${limit}]",
)
MAXIMUM_LIMIT: Final = Reason(
    "urn:resource-limit",
    "${component} - Maximum ${quantity} exceeds available resources and is reduced"
    " [${resource}][${value}][${limit}]",
    MessageLevel.WARN,
)

# References.
DUPLICATE_RESOURCE: Final = Reason(
    "urn:duplicate-resource", "Duplicate ${role} resource found [${requested}][${duplicate}]"
)
STORAGE_NOT_FOUND: Final = Reason(
    "urn:resource-not-found", "Unable to find storage resource [${ref}]"
)
VOLUME_RESOURCE_REQUIRED: Final = Reason("urn:resource-not-found", "Volume resource is required")
VOLUME_RESOURCE_NOT_FOUND: Final = Reason(
    "urn:resource-not-found", "Unable to locate resource [${ref}] for volume [${volume}]"
)
VOLUME_AMBIGUOUS: Final = Reason(
    "urn:duplicate-resource",
    "Volume target must be EITHER data resource OR storage resource, not both [${volume}][${ref}]",
)
VOLUME_MODE: Final = Reason("urn:invalid-value", "Volume mode not supported [${value}]")
VOLUME_PATH: Final = Reason(
    "urn:invalid-value",
    "Volume path must name a directory, absolute or below the session's home [${value}]",
)
VOLUME_PATH_TWICE: Final = Reason(
    "urn:invalid-value", "Volume path is used by another volume [${value}][${other}]"
)

# Executables.
IMAGE_REQUIRED: Final = Reason("urn:missing-value", "DockerContainer - image is required")
IMAGE_LOCATION_REQUIRED: Final = Reason(
    "urn:missing-required-value", "DockerContainer - image location required"
)
IMAGE_DIGEST_REQUIRED: Final = Reason(
    "urn:missing-value", "DockerContainer - image digest is required"
)
IMAGE_DIGEST_DENIED: Final = Reason(
    "urn:bad-value", "DockerContainer - image digest is excluded [${value}]"
)
IMAGE_LOCATION_DENIED: Final = Reason(
    "urn:bad-value", "${component} - image location is excluded [${value}]"
)
ARCHITECTURE: Final = Reason(
    "urn:invalid-value", "DockerContainer - platform architecture not supported [${value}]"
)
OPERATING_SYSTEM: Final = Reason(
    "urn:invalid-value", "DockerContainer - platform operating system not supported [${value}]"
)
PRIVILEGED: Final = Reason(
    "urn:not-supported", "DockerContainer - Privileged execution not supported"
)
PORT_PROTOCOL: Final = Reason(
    "urn:invalid-value", "DockerContainer - unrecognised network port protocol [${value}]"
)
PORT_REQUIRED: Final = Reason(
    "urn:missing-required-value", "DockerContainer - internal network port number required"
)
PORT_RANGE: Final = Reason(
    "urn:invalid-value", "DockerContainer - network port number must be 1 to 65535 [${value}]"
)
PORT_EXTERNAL: Final = Reason(
    "urn:not-supported", "DockerContainer - setting external port details not supported"
)
PORT_PATH_DENIED: Final = Reason(
    "urn:invalid-value", "DockerContainer - network path is excluded [${value}]"
)
PORT_DENIED: Final = Reason(
    "urn:invalid-value", "DockerContainer - network port number is excluded [${value}]"
)
COMMAND_DENIED: Final = Reason(
    "urn:bad-value", "DockerContainer - command argument is excluded [${value}]"
)
ENTRYPOINT_DENIED: Final = Reason(
    "urn:bad-value", "DockerContainer - entrypoint is excluded [${value}]"
)
ENVIRONMENT_NAME_DENIED: Final = Reason(
    "urn:bad-value", "Environment variable name is excluded [${value}]"
)
ENVIRONMENT_VALUE_DENIED: Final = Reason(
    "urn:bad-value", "Environment variable value is excluded [${name}][${value}]"
)
LOCATION_REQUIRED: Final = Reason(
    "urn:missing-required-value", "${component} - location is required"
)
NOTEBOOK_DENIED: Final = Reason(
    "urn:invalid-value", "JupyterNotebook - location is excluded [${value}]"
)

# Data.
DATA_LOCATION_REQUIRED: Final = Reason("urn:missing-required-value", "Data location required")
DATA_LOCATION_DENIED: Final = Reason(
    "urn:invalid-value", "SimpleDataResource - location is excluded [${value}]"
)
S3_REQUIRED: Final = Reason("urn:missing-required-value", "S3 ${what} required")
S3_ENDPOINT_DENIED: Final = Reason(
    "urn:invalid-value", "S3DataResource - endpoint [${value}] is excluded"
)
IVOA_REQUIRED: Final = Reason("urn:missing-required-value", "Ivoa metadata required")
IVOID_REQUIRED: Final = Reason("urn:missing-required-value", "Ivoa ID (ivoid) required")
IVOID_DENIED: Final = Reason("urn:invalid-value", "${component} - ivoid is excluded [${value}]")
RUCIO_REQUIRED: Final = Reason("urn:missing-required-value", "Rucio ${what} required")
SKAO_REQUIRED: Final = Reason(
    "urn:missing-required-value", "SKAO namespace and objectname, or an Ivoa ID (ivoid), required"
)
NAMESPACE_DENIED: Final = Reason(
    "urn:invalid-value", "${component} - namespace is excluded [${value}]"
)
DATA_SIZE: Final = Reason("urn:invalid-value", "SkaoDataResource - negative data size [${value}]")

# Cost and metric limits.
LIMIT_ORDER: Final = Reason(
    "urn:invalid-value", "Minimum of the limit exceeds its maximum [${type}][${min}][${max}]"
)
COST_LIMIT: Final = Reason(
    "urn:cost-limit", "Cost [${type}] is at least [${offered}], more than the limit [${limit}]"
)
METRIC_BELOW: Final = Reason(
    "urn:metric-limit", "Metric [${type}] is at most [${offered}], less than required [${limit}]"
)
METRIC_ABOVE: Final = Reason(
    "urn:metric-limit", "Metric [${type}] is at least [${offered}], more than allowed [${limit}]"
)
UNKNOWN_LIMIT: Final = Reason(
    "urn:unknown-limit",
    "Limit [${type}] cannot be judged: it is not reported here",
    MessageLevel.INFO,
)

# Requests that are sound and still find no place.
MAXIMUM_BELOW_MINIMUM: Final = Reason(
    "urn:invalid-value", "A requested maximum is below its minimum"
)
TOO_LARGE: Final = Reason(
    "urn:resource-limit", "The request needs more than one request may have here"
)
TOO_LONG: Final = Reason("urn:resource-limit", "The request is longer than a session may be")
NO_START_IN_TIME: Final = Reason(
    "urn:start-time", "No requested start leaves time to accept the offer and to prepare it"
)
NO_CAPACITY: Final = Reason(
    "urn:no-capacity",
    "Everything is booked at the requested times; the next free start is [${next}]",
)

PLATFORM_DOWN: Final = Reason(
    "urn:platform-unavailable", "The platform cannot run anything now [${detail}]"
)

ASKED_ALREADY: Final = Reason(
    "urn:asked-already", "The same request came by another gateway and is answered there"
)
DRAINING: Final = Reason("urn:node-draining", "The site takes no new requests for the time being")

# Updates. Their paths point into the update.
UPDATE_KIND: Final = Reason(
    "urn:update-refused", "Only updates of kind [${kind}] are supported [${given}]"
)
UPDATE_PATH: Final = Reason("urn:update-refused", "Only the phase can be updated [${given}]")
UPDATE_VALUE: Final = Reason("urn:update-refused", "A client cannot ask for this phase [${given}]")
UPDATE_PHASE: Final = Reason(
    "urn:update-refused", "A session in phase [${phase}] cannot become [${given}]"
)
OFFER_EXPIRED: Final = Reason("urn:offer-expired", "The offer has expired [${expires}]")

# Sessions on their way to their end. What is not known of an end is an empty value.
SCHEDULE_MISSED: Final = Reason(
    "urn:schedule-missed",
    "The booked time had passed before the session could be prepared [${end}]",
)
PREPARATION_TOO_LATE: Final = Reason(
    "urn:preparation-too-late",
    "The preparation had not ended when the booked time was over [${end}]",
)
OVER_TIME: Final = Reason(
    "urn:over-time", "The execution was stopped at the end of its booked time [${end}]"
)
EXECUTION_ENDED: Final = Reason(
    "urn:execution-ended", "The execution ended [${reason}][${exit_code}]", MessageLevel.INFO
)
EXECUTION_FAILED: Final = Reason(
    "urn:execution-failed", "The execution failed [${reason}][${exit_code}][${detail}]"
)
DATA_FAILED: Final = Reason(
    "urn:data-failed", "The data could not be made ready [${reason}][${detail}]"
)
STORAGE_EXCEEDED: Final = Reason(
    "urn:storage-exceeded", "More was written than the storage asked for [${reason}][${detail}]"
)
RESULTS_FAILED: Final = Reason(
    "urn:results-failed", "What came out could not be kept or sent [${reason}][${detail}]"
)
RESULTS_WAITING: Final = Reason(
    "urn:results-waiting",
    "What came out cannot be archived [${detail}]; it stays where it is and is tried again until"
    " [${until}]",
    MessageLevel.WARN,
)
RESULTS_UNARCHIVED: Final = Reason(
    "urn:results-unarchived",
    "The work itself ended [${reason}] with exit code [${exit_code}], but what came out could not"
    " be archived until [${until}][${detail}]; it still lies at the site in [${place}]",
)
EXECUTION_LOST: Final = Reason(
    "urn:execution-lost", "The platform no longer knows the execution [${phase}]"
)
PLATFORM_FAILED: Final = Reason(
    "urn:platform-failed", "The platform could not ${step} the session [${reason}][${detail}]"
)
RELEASE_FAILED: Final = Reason(
    "urn:release-failed", "The platform could not release the session [${reason}][${detail}]"
)
