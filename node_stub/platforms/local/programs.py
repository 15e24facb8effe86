"""From what a request says of its executable to the program of the site's that it means. Pure."""

import keyword
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.wire.documents import Document
from node_stub.appraisal import Remark
from node_stub.platforms.local import reasons
from node_stub.platforms.local.settings import ProgramSettings
from node_stub.platforms.local.shim_files import SESSION_VARIABLE

PATH: Final = "/executable"

OWN_VARIABLES: Final = frozenset({"HOME", "PATH", "TMPDIR", "LANG", SESSION_VARIABLE})
"""What the platform itself sets in every job's environment."""

ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""Machines as the kernel names them, and as images do."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_LOADER: Final = re.compile(
    r"(LD|GLIBC|MALLOC)_.*|GCONV_PATH|GETCONF_DIR|HOSTALIASES|LOCALDOMAIN|LOCPATH|NIS_PATH|NLSPATH"
    r"|RESOLV_HOST_CONF|RES_OPTIONS|TZDIR"
)
"""What the C library itself drops before a privileged program: parts of the sandbox are such.

Source: ``sysdeps/generic/unsecvars.h`` of glibc; what is not here is TMPDIR, which is ours.
"""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A program and how it is called. ``environment`` is without what the platform sets."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The invocation that an executable means, or why there is none."""

    invocation: Invocation | None
    remarks: tuple[Remark, ...] = ()


def resolve_program(programs: Sequence[ProgramSettings], executable: Document) -> Resolved:
    """The site's program for a container image, with the request's arguments and environment."""
    found = _find(programs, executable)
    if isinstance(found, Remark):
        return Resolved(None, (found,))
    command = found.command
    remarks = [
        *_environment_remarks(executable),
        *_port_remarks(executable),
        *_platform_remarks(executable),
    ]
    entrypoint = executable.get("entrypoint")
    if entrypoint:
        command = tuple(found.entrypoints.get(str(entrypoint), ()))
        if not command:
            known = ", ".join(sorted(found.entrypoints))
            values = {"value": str(entrypoint), "known": known}
            remarks.append(Remark(reasons.ENTRYPOINT_UNKNOWN, f"{PATH}/entrypoint", values))
    arguments = executable.get("command") or []
    remarks += [
        Remark(reasons.ARGUMENT_BAD, f"{PATH}/command/{i}")
        for i, argument in enumerate(arguments)
        if not _is_passable(argument)
    ]
    if remarks:
        return Resolved(None, tuple(remarks))
    environment = {**found.environment, **(executable.get("environment") or {})}
    return Resolved(Invocation((*command, *arguments), environment))


def notebook_remarks(executable: Document) -> tuple[Remark, ...]:
    """What in a request for a notebook cannot be met."""
    names = [
        Remark(reasons.PARAMETER_NAME, _pointer(PATH, member, name), {"name": name})
        for member in ("environment", "parameters")
        for name in executable.get(member) or {}
        if not name.isidentifier() or keyword.iskeyword(name)
    ]
    return (*names, *_port_remarks(executable))


def _find(programs: Sequence[ProgramSettings], executable: Document) -> ProgramSettings | Remark:
    image = executable.get("image") or {}
    locations, digest = image.get("locations") or [], image.get("digest")
    offered = [
        program for location in locations for program in programs if location in program.images
    ]
    if not offered:
        values = {"images": ", ".join(map(str, locations))}
        return Remark(reasons.PROGRAM_UNKNOWN, f"{PATH}/image/locations", values)
    for program in offered:
        if digest is None or digest == program.digest:
            return program
    values = {
        "digest": str(digest),
        "offered": ", ".join(program.digest for program in offered),
    }
    return Remark(reasons.DIGEST_DIFFERS, f"{PATH}/image/digest", values)


def _environment_remarks(executable: Document) -> Iterator[Remark]:
    for name, value in (executable.get("environment") or {}).items():
        place = _pointer(PATH, "environment", name)
        if not _NAME.fullmatch(name):
            yield Remark(reasons.ENVIRONMENT_NAME, place, {"name": name})
        elif name in OWN_VARIABLES or _LOADER.fullmatch(name):
            yield Remark(reasons.ENVIRONMENT_RESERVED, place, {"name": name})
        elif not _is_passable(value):
            yield Remark(reasons.ENVIRONMENT_VALUE, place, {"name": name})


def _port_remarks(executable: Document) -> Iterator[Remark]:
    network = executable.get("network") or {}
    for i, port in enumerate(network.get("ports") or []):
        number = str((port.get("internal") or {}).get("port", ""))
        yield Remark(reasons.PORTS_UNSUPPORTED, f"{PATH}/network/ports/{i}", {"port": number})


def _platform_remarks(executable: Document) -> Iterator[Remark]:
    wanted = (executable.get("image") or {}).get("platform") or {}
    machine = platform.machine()
    offered = {"architecture": ARCHITECTURES.get(machine, machine), "os": "linux"}
    for member, here in offered.items():
        value = wanted.get(member)
        if value and value != here:
            values = {"offered": here, "value": str(value)}
            yield Remark(reasons.ARCHITECTURE_DIFFERS, f"{PATH}/image/platform/{member}", values)


def _is_passable(value: object) -> bool:
    """Whether the kernel can hand it to a program, unchanged."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, as JSON can have it
        return False
    return True


def _pointer(*parts: str) -> str:
    """A JSON pointer below the first part (RFC 6901)."""
    escaped = (part.replace("~", "~0").replace("/", "~1") for part in parts[1:])
    return "/".join((parts[0], *escaped))
