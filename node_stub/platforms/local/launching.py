"""From a job to the orders of its shim: what it sees, runs and may use, and files made for it."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from node_stub.platforms.base import Stream
from node_stub.platforms.local import notebook_job
from node_stub.platforms.local.cgroups import Amounts
from node_stub.platforms.local.limits import cpus_for, resource_limits
from node_stub.platforms.local.process_tree import tasks_of
from node_stub.platforms.local.programs import Invocation
from node_stub.platforms.local.sandbox import SHOWN, Bind, View, boxed, is_below, target_of
from node_stub.platforms.local.setup import Setup
from node_stub.platforms.local.shim_files import SESSION_VARIABLE, Launch
from node_stub.platforms.runner import SESSION_HOME, RunSpec, Workspace

_SEARCH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GIB: Final = 1024**3
_USERS: Final = "session:x:{uid}:{gid}:session:/session:/bin/sh\n"
_GROUPS: Final = "session:x:{gid}:\n"


def shown_of(workspace: Workspace) -> Path:
    """Our files that the job is shown: read-only, in a sandbox that can do that."""
    return workspace.run / "shown"


def make_directories(workspace: Workspace) -> None:
    """Everything that a launch writes into; what is there stays."""
    workspace.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    for stream in Stream:
        workspace.log(stream).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (shown_of(workspace), workspace.run / "tmp", workspace.run / "root"):
        path.mkdir(mode=0o755, exist_ok=True)
        path.chmod(0o755)


def show_users(setup: Setup, workspace: Workspace) -> None:
    """The job's user by name: programs look it up."""
    uid = setup.user
    gid = os.getegid() if setup.uid is None else setup.uid
    for name, text in (("passwd", _USERS), ("group", _GROUPS)):
        show(workspace, name, text.format(uid=uid, gid=gid))


def show(workspace: Workspace, name: str, text: str) -> None:
    """Make a file that the job is shown."""
    path = shown_of(workspace) / name
    path.write_text(text, "utf-8")
    path.chmod(0o644)


def show_notebook(
    setup: Setup, workspace: Workspace, texts: Mapping[str, str], values: Mapping[str, Any]
) -> Invocation:
    """Make the files of a notebook's run, and say what runs it.

    Raises
    ------
    OSError
        The notebook is not there.
    """
    assert setup.notebook is not None
    shown = shown_of(workspace)
    shutil.copyfile(workspace.notebook, shown / "notebook.ipynb")
    (shown / "notebook.ipynb").chmod(0o644)
    shutil.copyfile(notebook_job.__file__, shown / "notebook_job.py")
    (shown / "notebook_job.py").chmod(0o644)
    place = str(shown) if setup.is_plain else SHOWN
    orders: notebook_job.Orders = {
        "notebook": f"{place}/notebook.ipynb",
        "results": str(workspace.home) if setup.is_plain else SESSION_HOME,
        "kernel": setup.notebook.kernel,
        "texts": dict(texts),
        "values": dict(values),
    }
    show(workspace, "orders.json", json.dumps(orders))
    python = setup.notebook.python
    return Invocation((python, "-I", f"{place}/notebook_job.py", f"{place}/orders.json"))


def launch_of(
    setup: Setup, run: RunSpec, invocation: Invocation, reasons: Mapping[str, str]
) -> Launch:
    """The orders of the shim."""
    amounts = Amounts(run.cores, run.memory_gib, setup.settings.processes)
    groups, meters = setup.groups.plan(run.session, amounts)
    first = boxed(setup.choice, setup.tools, view_of(setup, run, invocation))
    cpus: list[int] = []
    if "cpu" not in setup.groups.where:
        cpus = cpus_for(run.cores, sorted(os.sched_getaffinity(0)), run.session.int)
    return {
        "session": str(run.session),
        "argv": first.argv,
        "environment": first.environment,
        "directory": first.directory,
        "is_boxed": first.is_boxed,
        "input": first.input,
        "limits": resource_limits(
            amounts, run.storage_gib, setup.groups.where, tasks_of(setup.user)
        ),
        "cpus": cpus,
        "groups": groups,
        "meters": meters,
        "end_at": run.end_at.timestamp() + setup.settings.backstop_s,
        "grace_s": setup.settings.grace_s,
        "log_bytes": run.log_bytes,
        "stdout": str(run.workspace.log(Stream.STDOUT)),
        "stderr": str(run.workspace.log(Stream.STDERR)),
        "reasons": dict(reasons),
    }


def view_of(setup: Setup, run: RunSpec, invocation: Invocation) -> View:
    """What the job sees and runs."""
    workspace = run.workspace
    home = str(workspace.home) if setup.is_plain else SESSION_HOME
    return View(
        binds=() if setup.is_plain else _binds(setup, run),
        # Half of the memory, as the kernel's own default is half of the machine's.
        tmp_bytes=run.memory_gib * _GIB // 2,
        network=setup.settings.network,
        uid=setup.uid,
        argv=invocation.argv,
        environment={
            "LANG": "C.UTF-8",
            **invocation.environment,
            "HOME": home,
            "PATH": _SEARCH,
            "TMPDIR": str(workspace.run / "tmp") if setup.is_plain else "/tmp",  # noqa: S108
            SESSION_VARIABLE: str(run.session),
        },
        directory=home,
        build_on=str(workspace.run / "root"),
    )


def _binds(setup: Setup, run: RunSpec) -> tuple[Bind, ...]:
    workspace = run.workspace
    shown = shown_of(workspace)
    paths = [*setup.paths]
    if setup.notebook is not None:
        paths += [
            path
            for path in setup.notebook.paths
            if not any(is_below(path, other) for other in setup.paths)
        ]
    volumes = []
    for mount in run.mounts:
        target = target_of(mount.target)
        assert target is not None, "it was refused before it was offered"
        volumes.append(Bind(str(mount.source), target, mount.is_read_only))
    return (
        *(Bind(path, path) for path in paths),
        *(Bind(str(shown / name), f"/etc/{name}") for name in ("passwd", "group")),
        Bind(str(shown), SHOWN),
        Bind(str(workspace.home), SESSION_HOME, is_read_only=False),
        *volumes,
    )


def place_volumes(setup: Setup, run: RunSpec) -> None:
    """Make what volumes below the home cover; without a sandbox, links to them.

    Raises
    ------
    OSError
        Something is in the place of a volume.
    """
    for mount in run.mounts:
        target = target_of(mount.target)
        if target is None or not is_below(target, SESSION_HOME):
            continue
        path = run.workspace.home / Path(target).relative_to(SESSION_HOME)
        if not setup.is_plain:
            _make_writable(run.workspace.home, path)
            continue
        _make_writable(run.workspace.home, path.parent)
        if not (path.is_symlink() and path.readlink() == mount.source):
            path.symlink_to(mount.source)


def _make_writable(home: Path, path: Path) -> None:
    """A directory below the home, and those above it, for whoever the job is."""
    missing = [part for part in (path, *path.parents) if part.is_relative_to(home)]
    for part in reversed(missing):
        if part.is_symlink():
            raise FileExistsError(f"{part} is a link")
        if not part.exists():
            part.mkdir()
            part.chmod(0o777)
