"""The sandboxes as command lines: what a job is to see, put into the words of each. Pure."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from node_stub.platforms.local import namespace_root
from node_stub.platforms.local.settings import Network, SandboxChoice
from node_stub.platforms.local.shim_files import INPUT_FD, STATUS_FD
from node_stub.platforms.runner import SESSION_HOME

OWN_PLACES: Final = ("/dev", "/proc", "/run/execbroker", "/tmp")  # noqa: S108  # the job's own
"""What a sandbox makes itself, besides the home; volumes may lie below the last."""

SHOWN: Final = "/run/execbroker"
"""Where a job finds files of ours that it needs."""

_DROP: Final = ("--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs")


class Bind(NamedTuple):
    """A file or directory of the host, and where the job sees it."""

    source: str
    target: str
    is_read_only: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a job sees and runs. ``uid`` is the user it becomes, None for the broker's own."""

    binds: tuple[Bind, ...]
    tmp_bytes: int
    network: Network
    uid: int | None
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    directory: str = SESSION_HOME
    build_on: str = ""
    """An empty directory to build on, for a sandbox that needs one."""


@dataclass(frozen=True, slots=True)
class Boxed:
    """The first process, and what it reads on `INPUT_FD`."""

    argv: list[str]
    environment: dict[str, str]
    directory: str
    input: str = field(default="", repr=False)

    @property
    def is_boxed(self) -> bool:
        """Whether the first process is a sandbox, and not the job itself."""
        return bool(self.input)


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs that sandboxes are made with, as absolute paths; empty is missing."""

    bwrap: str = ""
    unshare: str = ""
    setpriv: str = ""


def boxed(choice: SandboxChoice, tools: Tools, view: View) -> Boxed:
    """The view in the words of a sandbox; AUTO is none."""
    if choice is SandboxChoice.BUBBLEWRAP:
        return _bubblewrap(tools, view)
    if choice is SandboxChoice.NAMESPACES:
        return _namespaces(tools, view)
    return Boxed(list(view.argv), dict(view.environment), view.directory)


def ordered(binds: Sequence[Bind]) -> list[Bind]:
    """Parents before what lies below them."""
    return sorted(binds, key=lambda bind: bind.target.rstrip("/").count("/"))


def directories(binds: Sequence[Bind]) -> list[str]:
    """What has to be made to hold the targets, parents first, without what a bind shows."""
    parents = {str(parent) for bind in binds for parent in Path(bind.target).parents} - {"/"}
    made = [path for path in parents if not any(is_below(path, bind.target) for bind in binds)]
    return sorted(made)


def _bubblewrap(tools: Tools, view: View) -> Boxed:
    words = ["--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]
    words += ["--die-with-parent", "--new-session", "--clearenv"]
    if view.uid is None:
        words += ["--unshare-user", "--disable-userns"]
    else:
        # As root without a user namespace: its root would own the host's files, whatever is shown.
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
            words += ["--cap-add", capability]
    if view.network is Network.NONE:
        words.append("--unshare-net")
    words += ["--proc", "/proc", "--dev", "/dev"]
    for place in ("/tmp", "/dev/shm"):  # noqa: S108  # the job's own
        words += ["--perms", "1777", "--size", str(view.tmp_bytes), "--tmpfs", place]
    # By itself it makes them for the eyes of the broker's user only.
    for path in directories(view.binds):
        words += ["--dir", path]
    for bind in ordered(view.binds):
        words += ["--ro-bind" if bind.is_read_only else "--bind", bind.source, bind.target]
    for name, value in view.environment.items():
        words += ["--setenv", name, value]
    words += ["--chdir", view.directory, "--remount-ro", "/dev", "--remount-ro", "/"]
    argv = [tools.bwrap, "--args", str(INPUT_FD), "--json-status-fd", str(STATUS_FD), "--"]
    if view.uid is not None:
        user = (f"--reuid={view.uid}", f"--regid={view.uid}", "--clear-groups")
        argv += [tools.setpriv, *user, *_DROP, "--"]
    return Boxed([*argv, *view.argv], {}, "/", "\0".join([*words, ""]))


def _namespaces(tools: Tools, view: View) -> Boxed:
    argv = [tools.unshare, "--mount", "--pid", "--ipc", "--uts", "--cgroup"]
    if view.network is Network.NONE:
        argv.append("--net")
    if view.uid is None:
        argv += ["--user", "--map-current-user", "--keep-caps"]
    argv += ["--propagation", "private", "--fork", "--kill-child=KILL", "--"]
    argv += [sys.executable, "-I", "-S", str(Path(namespace_root.__file__).resolve())]
    orders: namespace_root.Orders = {
        "root": view.build_on,
        "binds": [
            {"source": bind.source, "target": bind.target, "is_read_only": bind.is_read_only}
            for bind in ordered(view.binds)
        ],
        "tmp_bytes": view.tmp_bytes,
        "uid": view.uid,
        "argv": list(view.argv),
        "environment": dict(view.environment),
        "directory": view.directory,
    }
    return Boxed(argv, {}, "/", json.dumps(orders))


def is_below(path: str, place: str) -> bool:
    """Whether a normal path is a place or lies below it."""
    return path == place or path.startswith(f"{place.rstrip('/')}/")


def target_of(path: str) -> str | None:
    """A volume's path as an absolute one in the sandbox; None if it leads out of its place."""
    parts = path.split("/")
    if ".." in parts or "\0" in path:
        return None
    normal = os.path.normpath("/" + path.lstrip("/"))
    if not path.startswith("/"):
        normal = os.path.normpath(f"{SESSION_HOME}/{path}")
    return normal


def is_reserved(target: str, shown: Sequence[str]) -> bool:
    """Whether a volume there would hide the home, the system or what the sandbox makes itself."""
    if is_below(SESSION_HOME, target):
        return True
    for place in (*OWN_PLACES, *shown):
        inside = is_below(target, place)
        if is_below(place, target) or (inside and place != OWN_PLACES[-1]):
            return True
    return False
