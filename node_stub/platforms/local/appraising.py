"""What the platform says of a request, from how jobs are run here. Looks at files, changes none."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.appraisal import Appraisal, Remark
from node_stub.platforms.local import reasons
from node_stub.platforms.local.programs import (
    PATH,
    Resolved,
    notebook_remarks,
    resolve_program,
)
from node_stub.platforms.local.sandbox import is_below, is_reserved, target_of
from node_stub.platforms.local.setup import Setup
from node_stub.rules import Estimate

ESTIMATES: Final = {
    kinds.DOCKER_CONTAINER: Estimate(prepare_s=1),
    kinds.JUPYTER_NOTEBOOK: Estimate(prepare_s=1),
    kinds.SIMPLE_COMPUTE: Estimate(release_s=1),
}
"""Whole seconds, rounded up from what was measured on two cores with bubblewrap, in November 2026:
looking for a program 1 ms, a shim and its sandbox 60 ms; ending a tree and clearing up 10 ms."""

_READ_ONLY: Final = "READONLY"


def appraise(setup: Setup, document: Document) -> Appraisal:
    """Whether a request can be met, and how it would run."""
    executable = document["executable"]
    remarks = [*_executable_remarks(setup, executable), *_volume_remarks(setup, document)]
    return Appraisal(ESTIMATES, (*remarks, _how(setup)))


def resolve(setup: Setup, executable: Document) -> Resolved:
    """The program for a container image, if it can be run."""
    resolved = resolve_program(setup.settings.programs, executable)
    if resolved.invocation is None:
        return resolved
    trouble = _trouble_with(setup, resolved.invocation.argv[0])
    if not trouble:
        return resolved
    values = {"detail": trouble}
    return Resolved(None, (Remark(reasons.PROGRAM_MISSING, f"{PATH}/image/locations", values),))


def _executable_remarks(setup: Setup, executable: Document) -> tuple[Remark, ...]:
    if executable["kind"] != kinds.JUPYTER_NOTEBOOK:
        return resolve(setup, executable).remarks
    trouble = "none are configured" if setup.notebook is None else setup.notebook.trouble
    if trouble:
        return (Remark(reasons.NOTEBOOK_UNAVAILABLE, PATH, {"detail": trouble}),)
    return notebook_remarks(executable)


def _trouble_with(setup: Setup, program: str) -> str:
    """Why a program cannot be run; empty if it can."""
    path = Path(program)
    if not setup.is_plain and not any(is_below(program, shown) for shown in setup.paths):
        return f"{program} is not among the paths that a job sees"
    if not path.is_file():
        return f"{program} does not exist"
    may_run = os.access(path, os.X_OK) if setup.uid is None else path.stat().st_mode & 0o001
    return "" if may_run else f"{program} is not executable"


def _volume_remarks(setup: Setup, document: Document) -> Iterator[Remark]:
    sandbox = setup.choice.value
    shown = [*setup.paths, *(setup.notebook.paths if setup.notebook else ())]
    for i, volume in enumerate(document["compute"].get("volumes") or ()):
        place = f"/compute/volumes/{i}"
        path = volume.get("path") or ""
        target = target_of(path)
        if target is None or is_reserved(target, shown):
            yield Remark(reasons.VOLUME_RESERVED, f"{place}/path", {"value": path})
        elif setup.is_plain and path.startswith("/"):
            values = {"sandbox": sandbox, "value": path}
            yield Remark(reasons.VOLUME_ABSOLUTE, f"{place}/path", values)
        if setup.is_plain and volume.get("mode") == _READ_ONLY:
            yield Remark(reasons.VOLUME_READ_ONLY, f"{place}/mode", {"sandbox": sandbox})


def _how(setup: Setup) -> Remark:
    groups = setup.groups
    values = {
        "sandbox": setup.choice.value,
        "user": str(setup.user),
        "network": setup.settings.network.value,
        "memory": groups.enforcer("memory", "rlimit, of each process"),
        "cores": groups.enforcer("cpu", "affinity"),
        "processes": groups.enforcer("pids", "rlimit, of the user"),
    }
    return Remark(reasons.RUNS_IN, PATH, values)
