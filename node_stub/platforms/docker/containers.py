"""What a container is made of, and what the engine's account of it means. Pure."""

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gateway.wire.documents import Document
from node_stub.platforms.base import EndReason
from node_stub.platforms.docker.client import Inspection
from node_stub.platforms.docker.images import FoundImage
from node_stub.platforms.docker.records import End, Port, Stop
from node_stub.platforms.docker.settings import (
    INPUT_DIRECTORY,
    DockerSettings,
    NetworkMode,
    Propagation,
    SiteMount,
)
from node_stub.platforms.runner import SESSION_HOME, Mount, RunSpec

KILLED: Final = 137
"""128 + SIGKILL: how an exit by the kernel's killer is reported."""

NO_COMMAND: Final = frozenset({126, 127})
"""What an init process exits with when it cannot run, or cannot find, the program."""

SYSTEM_DIRECTORIES: Final = ("/proc", "/sys", "/dev")
"""What the runtime mounts itself; anything in their place lets a container out or breaks it."""

TEMPORARY: Final = "/tmp"  # noqa: S108  # in the container, a file system of its own
_HOME_VARIABLE: Final = "HOME"

_LOG_ROOM: Final = 10
"""An engine's log takes this many times a spool's limit before it is cut, twice over: it stores
short lines with as much again around them, and both streams in one."""

_LEAST_LOG_BYTES: Final = 16 << 20
_NEVER: Final = datetime(1, 1, 2, tzinfo=UTC)
"""Engines say the first day of year one for what has not happened."""

ENDED_STATES: Final = frozenset({"exited", "dead", "stopped"})
FRESH_STATES: Final = frozenset({"created", "initialized", "configured"})


@dataclass(frozen=True, slots=True)
class Program:
    """What runs in a container. None leaves it to the image.

    ``inputs`` are further files of ours, at their places in the container, read-only.
    """

    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[Port, ...] = ()
    inputs: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a container gets from the broker and the engine, not from the request.

    ``cores`` are those of the engine's machine, 0 where they are not known: a site may promise more
    than it has, but Docker refuses a limit that is above them.
    """

    labels: Mapping[str, str]
    log_driver: str
    has_init: bool
    user: str | None
    cgroup: str | None
    cores: int = 0


def container_program(executable: Document) -> Program:
    """The program of a container executable, argument by argument as it was asked for."""
    entrypoint = executable.get("entrypoint")
    command = executable.get("command")
    return Program(
        entrypoint=(entrypoint,) if entrypoint else None,
        command=tuple(command) if command else None,
        environment=dict(executable.get("environment") or {}),
        ports=published_ports(executable),
    )


def published_ports(executable: Document) -> tuple[Port, ...]:
    """The ports that users may reach."""
    network = executable.get("network") or {}
    return tuple(
        Port(
            index=i,
            number=port["internal"]["port"],
            protocol=port.get("protocol") or "TCP",
            path=port.get("path") or "",
        )
        for i, port in enumerate(network.get("ports") or ())
        if port.get("access")
    )


def create_body(
    run: RunSpec,
    program: Program,
    image: FoundImage,
    settings: DockerSettings,
    around: Surroundings,
) -> dict[str, Any]:
    """The document that makes a container."""
    environment = {_HOME_VARIABLE: SESSION_HOME, **program.environment}
    body: dict[str, Any] = {
        "Image": image.id,
        "Labels": dict(around.labels),
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "WorkingDir": image.working_directory or SESSION_HOME,
        "AttachStdin": False,
        "OpenStdin": False,
        "Tty": False,
        "ExposedPorts": {port.key: {} for port in program.ports},
        "HostConfig": _host_config(run, program, settings, around),
    }
    if program.entrypoint is not None:
        body["Entrypoint"] = list(program.entrypoint)
    if program.command is not None:
        body["Cmd"] = list(program.command)
    if around.user is not None:
        body["User"] = around.user
    return body


def _host_config(
    run: RunSpec, program: Program, settings: DockerSettings, around: Surroundings
) -> dict[str, Any]:
    memory = run.memory_gib << 30
    mounts = _mounts(run, program, settings)
    config: dict[str, Any] = {
        "Privileged": False,
        "ReadonlyRootfs": settings.read_only_root,
        "CapDrop": ["ALL"],
        "CapAdd": list(settings.capabilities),
        "SecurityOpt": ["no-new-privileges"],
        "Memory": memory,
        "MemorySwap": memory,  # of both together: none
        "NanoCpus": min(run.cores, around.cores or run.cores) * 1_000_000_000,
        "PidsLimit": settings.processes,
        "NetworkMode": (NetworkMode.BRIDGE if program.ports else settings.network).value,
        "PortBindings": {
            port.key: [{"HostIp": settings.publish_address, "HostPort": ""}]
            for port in program.ports
        },
        "RestartPolicy": {"Name": "no"},
        "LogConfig": _log_config(around.log_driver, run.log_bytes),
        "Mounts": mounts,
    }
    if all(mount["Target"] != TEMPORARY for mount in mounts):
        size = f"size={settings.tmpfs_mib}m"
        config["Tmpfs"] = {TEMPORARY: f"rw,exec,nosuid,nodev,{size},mode=1777"}
    if around.has_init:
        config["Init"] = True
    if around.cgroup is not None:
        config["CgroupParent"] = around.cgroup
    return config


def _log_config(driver: str, log_bytes: int) -> dict[str, Any]:
    size = max(_LEAST_LOG_BYTES, _LOG_ROOM * log_bytes)
    options = {"max-size": f"{size >> 20}m"}
    if driver == "local":
        options |= {"max-file": "2", "compress": "false"}
    return {"Type": driver, "Config": options}


def _mounts(run: RunSpec, program: Program, settings: DockerSettings) -> list[dict[str, Any]]:
    """All mounts, those that others lie in first; never as text that could be split elsewhere."""
    mounts = [_mount(str(run.workspace.home), SESSION_HOME, is_read_only=False)]
    mounts += [
        _mount(site.source, site.target, is_read_only=True, propagation=site.propagation)
        for site in settings.site_mounts
    ]
    mounts += [
        _mount(str(mount.source), mount_target(mount), is_read_only=mount.is_read_only)
        for mount in run.mounts
    ]
    mounts += [
        _mount(str(source), target, is_read_only=True) for target, source in program.inputs.items()
    ]
    return sorted(mounts, key=lambda mount: str(mount["Target"]).count("/"))


def _mount(
    source: str,
    target: str,
    *,
    is_read_only: bool,
    propagation: Propagation = Propagation.PRIVATE,
) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": source,
        "Target": target,
        "ReadOnly": is_read_only,
        "BindOptions": {"Propagation": propagation.value},
    }


def mount_target(mount: Mount) -> str:
    """Where a volume lies in the container."""
    return absolute_target(mount.target)


def absolute_target(path: str) -> str:
    """A path of a volume, from the root: relative ones are below the home."""
    return posixpath.normpath(posixpath.join(SESSION_HOME, path)).replace("//", "/")


def is_plain(path: str) -> bool:
    """Whether a path can be given to any engine.

    Podman reads mounts as text, ``source:target:options``: a colon would give a volume options.
    """
    return path.isprintable() and not {":", ","} & set(path)


def hidden_by(path: str, site_mounts: Iterable[SiteMount]) -> str | None:
    """What a volume at this path would hide, or be part of; None if it is in nobody's way."""
    target = absolute_target(path)
    if target in {"/", SESSION_HOME}:
        return target
    own = (*SYSTEM_DIRECTORIES, INPUT_DIRECTORY)
    taken = (*own, *(posixpath.normpath(site.target) for site in site_mounts))
    return next((place for place in taken if _is_in(target, place) or _is_in(place, target)), None)


def _is_in(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place.rstrip('/')}/")


def to_time(text: str | None) -> datetime | None:
    """An instant as engines write it, with nanoseconds; None for never."""
    if not text:
        return None
    whole, dot, rest = text.partition(".")
    if dot:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        text = f"{whole}.{rest[:digits][:6]:0<6}{rest[digits:]}"
    instant = datetime.fromisoformat(text)
    return None if instant < _NEVER else instant.astimezone(UTC)


def ending_of(container: Inspection, stop: Stop | None, *, hit_memory_limit: bool) -> End:
    """How a container ended. ``hit_memory_limit`` is our own evidence, where an engine has none."""
    state = container["State"]
    code: int = state.get("ExitCode", 0)
    started = to_time(state.get("StartedAt"))
    ended = to_time(state.get("FinishedAt"))
    if started is not None and ended is not None:
        # Docker may date the end of what ends at once a little before its start.
        ended = max(started, ended)
    reason, text = _reason(state, code, ended, stop, hit_memory_limit=hit_memory_limit)
    return End(reason=reason, text=text, exit_code=code, started=started, ended=ended)


def _reason(
    state: Mapping[str, Any],
    code: int,
    ended: datetime | None,
    stop: Stop | None,
    *,
    hit_memory_limit: bool,
) -> tuple[EndReason, str]:
    if stop is not None and (ended is None or ended >= stop.asked):
        return EndReason.CANCELLED, ""
    if code == 0:
        return EndReason.OK, ""
    if state.get("OOMKilled") or (code == KILLED and hit_memory_limit):
        return EndReason.OOM, "the memory limit was reached"
    text = state.get("Error") or ""
    return EndReason.NONZERO, text or f"the program ended with {code}"


def program_places(container: Inspection) -> list[str]:
    """Where the program that a container was to run would be."""
    config = container["Config"]
    words = [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]
    if not words:
        return []
    name, folder = words[0], config.get("WorkingDir") or "/"
    if "/" in name:
        return [posixpath.join(folder, name)]
    environment = dict(item.partition("=")[::2] for item in config.get("Env") or ())
    path = environment.get("PATH") or DEFAULT_PATH
    return [posixpath.join(folder, place, name) for place in path.split(":") if place]


DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where engines look for programs when the image does not say."""


def published_at(container: Inspection, port: Port) -> int | None:
    """The port of the machine that leads to a port of a container; None if none does (yet)."""
    bindings = (container.get("NetworkSettings") or {}).get("Ports") or {}
    for binding in bindings.get(port.key) or ():
        if binding.get("HostPort"):
            return int(binding["HostPort"])
    return None
