"""Checks of the volume mounts of the compute resource."""

import re
from posixpath import normpath
from typing import Final

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub import reasons
from node_stub.checks.findings import (
    Findings,
    components,
    is_known_kind,
    name_of,
    own_copy,
    pointer,
    text,
)
from node_stub.checks.references import References, Role, Target
from node_stub.rules import SiteRules

PATH: Final = "/compute/volumes"
DEFAULT_ROOT: Final = "/volumes"
"""Where a volume without path is mounted, under the name of what it holds."""

DEFAULT_MODE: Final = "READONLY"
MODES: Final = frozenset({"READONLY", "READWRITE"})

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")


def check_volumes(
    findings: Findings, rules: SiteRules, compute: Document, references: References
) -> list[Document]:
    """The volume mounts with mode, path and the UUID of what they hold."""
    checked: list[Document] = []
    for i, component in enumerate(components(compute, "volumes")):
        place = pointer(PATH, i)
        if is_known_kind(findings, component, place, rules.kinds & kinds.VOLUME_KINDS):
            volume = own_copy(component, references.mint())
            _check_volume(findings, volume, place, references)
            checked.append(volume)
    _check_paths(findings, checked)
    return checked


def _check_volume(findings: Findings, volume: Document, place: str, references: References) -> None:
    mode = text(volume, "mode") or DEFAULT_MODE
    if mode not in MODES:
        findings.add(reasons.VOLUME_MODE, pointer(place, "mode"), value=mode)
    path = text(volume, "path")
    if path is not None and not _is_place(path):
        findings.add(reasons.VOLUME_PATH, pointer(place, "path"), value=path)
    target = _target(findings, volume, place, references)
    volume["mode"] = mode
    if target is not None:
        volume["path"] = path or f"{DEFAULT_ROOT}/{_segment(target, volume['resource'])}"
        volume["resource"] = target.uuid


def _target(
    findings: Findings, volume: Document, place: str, references: References
) -> Target | None:
    place = pointer(place, "resource")
    reference = text(volume, "resource")
    if reference is None:
        findings.add(reasons.VOLUME_RESOURCE_REQUIRED, place)
        return None
    found = references.find(reference, Role.DATA, Role.STORAGE)
    if not found:
        reason = reasons.VOLUME_RESOURCE_NOT_FOUND
    elif len(found) > 1:
        reason = reasons.VOLUME_AMBIGUOUS
    else:
        return found[0]
    findings.add(reason, place, ref=reference, volume=name_of(volume))
    return None


def _is_place(path: str) -> bool:
    """Whether it names a directory below the root, or below the session's home if relative."""
    steps = [step for step in path.split("/") if step not in ("", ".")]
    return bool(steps) and ".." not in steps and "\0" not in path


def _segment(target: Target, reference: str) -> str:
    """One path segment out of the client's name for the target, or of its reference."""
    segment = _UNSAFE.sub("_", target.name or reference)
    # A name of dots alone would lead out of the directory.
    return segment if segment.strip(".") else "_" * len(segment)


def _check_paths(findings: Findings, volumes: list[Document]) -> None:
    """No two volumes in one place."""
    taken: dict[str, int] = {}
    for i, volume in enumerate(volumes):
        path = text(volume, "path")
        if path is None:
            continue
        first = taken.setdefault(normpath(path), i)
        if first != i:
            findings.add(
                reasons.VOLUME_PATH_TWICE,
                pointer(PATH, i, "path"),
                value=path,
                other=pointer(PATH, first, "path"),
            )
