"""Checks of the executable."""

from collections.abc import Callable, Mapping
from typing import Final

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub import reasons
from node_stub.checks.findings import (
    Findings,
    block,
    components,
    integer,
    is_known_kind,
    own_copy,
    pointer,
    strings,
    text,
)
from node_stub.rules import SiteRules

PATH: Final = "/executable"
ARCHITECTURE: Final = "amd64"
OPERATING_SYSTEM: Final = "linux"
DEFAULT_PROTOCOL: Final = "TCP"
PROTOCOLS: Final = frozenset({"UDP", "TCP", "HTTP", "HTTPS"})
"""HTTP and HTTPS say what is spoken on top of TCP."""

HIGHEST_PORT: Final = 65_535


def check_executable(
    findings: Findings, rules: SiteRules, request: Document, uuid: str
) -> Document:
    """The executable with its defaults; empty when there is none."""
    component = request.get("executable")
    if not isinstance(component, dict):
        findings.add(reasons.EXECUTABLE_REQUIRED, PATH)
        return {}
    if not is_known_kind(findings, component, PATH, rules.kinds & kinds.EXECUTABLE_KINDS):
        return {}
    executable = own_copy(component, uuid)
    _CHECKS[executable["kind"]](findings, rules, executable)
    return executable


def _check_docker(findings: Findings, rules: SiteRules, executable: Document) -> None:
    executable["image"] = _checked_image(findings, rules, executable)
    privileged = executable.get("privileged")
    if privileged:
        findings.add(reasons.PRIVILEGED, pointer(PATH, "privileged"), value=privileged)
    executable["privileged"] = False
    _check_arguments(findings, rules, executable)
    network = block(executable, "network")
    if ports := components(network, "ports"):
        place = pointer(PATH, "network", "ports")
        checked = [
            _checked_port(findings, rules, port, pointer(place, i)) for i, port in enumerate(ports)
        ]
        executable["network"] = {**network, "ports": checked}


def _checked_image(findings: Findings, rules: SiteRules, executable: Document) -> Document:
    place = pointer(PATH, "image")
    if not isinstance(executable.get("image"), dict):
        findings.add(reasons.IMAGE_REQUIRED, place)
        return {}
    image = block(executable, "image")
    locations = [(i, location) for i, location in strings(image, "locations") if location.strip()]
    if not locations:
        findings.add(reasons.IMAGE_LOCATION_REQUIRED, pointer(place, "locations"))
    for i, location in locations:
        if location in rules.deny.images:
            findings.add(
                reasons.IMAGE_LOCATION_DENIED,
                pointer(place, "locations", i),
                component="DockerContainer",
                value=location,
            )
    digest = text(image, "digest")
    if digest is None:
        findings.add(reasons.IMAGE_DIGEST_REQUIRED, pointer(place, "digest"))
    elif digest in rules.deny.images:
        findings.add(reasons.IMAGE_DIGEST_DENIED, pointer(place, "digest"), value=digest)
    return {**image, "platform": _checked_platform(findings, image)}


def _checked_platform(findings: Findings, image: Document) -> Document:
    place = pointer(PATH, "image", "platform")
    platform = block(image, "platform")
    architecture = text(platform, "architecture") or ARCHITECTURE
    system = text(platform, "os") or OPERATING_SYSTEM
    if architecture != ARCHITECTURE:
        findings.add(reasons.ARCHITECTURE, pointer(place, "architecture"), value=architecture)
    if system != OPERATING_SYSTEM:
        findings.add(reasons.OPERATING_SYSTEM, pointer(place, "os"), value=system)
    return {**platform, "architecture": architecture, "os": system}


def _check_arguments(findings: Findings, rules: SiteRules, executable: Document) -> None:
    denied = rules.deny.arguments
    for i, argument in strings(executable, "command"):
        if argument in denied:
            findings.add(reasons.COMMAND_DENIED, pointer(PATH, "command", i), value=argument)
    entrypoint = text(executable, "entrypoint")
    if entrypoint in denied:
        findings.add(reasons.ENTRYPOINT_DENIED, pointer(PATH, "entrypoint"), value=entrypoint)
    _check_environment(findings, rules, executable)


def _check_environment(findings: Findings, rules: SiteRules, executable: Document) -> None:
    denied = rules.deny.arguments
    for name, value in block(executable, "environment").items():
        place = pointer(PATH, "environment", name)
        if name in denied:
            findings.add(reasons.ENVIRONMENT_NAME_DENIED, place, value=name)
        if isinstance(value, str) and value in denied:
            findings.add(reasons.ENVIRONMENT_VALUE_DENIED, place, name=name, value=value)


def _checked_port(findings: Findings, rules: SiteRules, port: Document, place: str) -> Document:
    protocol = text(port, "protocol") or DEFAULT_PROTOCOL
    if protocol not in PROTOCOLS:
        findings.add(reasons.PORT_PROTOCOL, pointer(place, "protocol"), value=protocol)
    if port.get("external"):
        findings.add(reasons.PORT_EXTERNAL, pointer(place, "external"), value=port["external"])
    number = integer(block(port, "internal"), "port")
    number_place = pointer(place, "internal", "port")
    if number is None:
        findings.add(reasons.PORT_REQUIRED, number_place)
    elif not 1 <= number <= HIGHEST_PORT:
        findings.add(reasons.PORT_RANGE, number_place, value=number)
    elif number in rules.deny.ports:
        findings.add(reasons.PORT_DENIED, number_place, value=number)
    path = text(port, "path")
    if path in rules.deny.port_paths:
        findings.add(reasons.PORT_PATH_DENIED, pointer(place, "path"), value=path)
    kept = {member: value for member, value in port.items() if member != "external"}
    return {**kept, "access": port.get("access") is True, "protocol": protocol}


def _check_singularity(findings: Findings, rules: SiteRules, executable: Document) -> None:
    location, place = text(executable, "location"), pointer(PATH, "location")
    if location is None:
        findings.add(reasons.LOCATION_REQUIRED, place, component="SingularityContainer")
    elif location in rules.deny.images:
        findings.add(
            reasons.IMAGE_LOCATION_DENIED, place, component="SingularityContainer", value=location
        )


def _check_jupyter(findings: Findings, rules: SiteRules, executable: Document) -> None:
    location, place = text(executable, "location"), pointer(PATH, "location")
    if location is None:
        findings.add(reasons.LOCATION_REQUIRED, place, component="JupyterNotebook")
    elif location in rules.deny.notebooks:
        findings.add(reasons.NOTEBOOK_DENIED, place, value=location)
    _check_environment(findings, rules, executable)


_CHECKS: Final[Mapping[str, Callable[[Findings, SiteRules, Document], None]]] = {
    kinds.DOCKER_CONTAINER: _check_docker,
    kinds.SINGULARITY_CONTAINER: _check_singularity,
    kinds.JUPYTER_NOTEBOOK: _check_jupyter,
}
