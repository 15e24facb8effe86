"""What can be run here at all, and how it would run: the refusals and remarks of an offer. Pure."""

from collections.abc import Iterator
from typing import Final

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub import reasons as node_reasons
from node_stub.appraisal import Remark
from node_stub.platforms.docker import reasons
from node_stub.platforms.docker.client import EngineInfo
from node_stub.platforms.docker.containers import hidden_by, is_plain
from node_stub.platforms.docker.references import DIGEST, parse
from node_stub.platforms.docker.settings import DockerSettings

_IMAGE: Final = "/executable/image"


def remarks_on(
    document: Document, settings: DockerSettings, info: EngineInfo
) -> tuple[Remark, ...]:
    """Everything that is to be said of a request, refusals first."""
    executable = document["executable"]
    found = list(_on_environment(executable))
    if executable["kind"] == kinds.DOCKER_CONTAINER:
        found += _on_container(executable, settings, info)
    found += _on_volumes(document, settings)
    found += [Remark(reasons.UNENFORCED, "/compute", {"what": what}) for what in info.unenforced]
    if not found:
        found.append(_sandbox(settings, info))
        if document.get("storage"):
            found.append(Remark(reasons.STORAGE_MEASURED, "/storage"))
    return tuple(found)


def _on_container(
    executable: Document, settings: DockerSettings, info: EngineInfo
) -> Iterator[Remark]:
    if executable.get("privileged"):
        yield Remark(node_reasons.PRIVILEGED, "/executable/privileged")
    image = executable["image"]
    digest = image.get("digest")
    if digest and not DIGEST.fullmatch(digest):
        yield Remark(reasons.DIGEST_SYNTAX, f"{_IMAGE}/digest", {"value": digest})
    yield from _on_locations(image["locations"], settings)
    platform = image.get("platform") or {}
    architecture = platform.get("architecture") or info.architecture
    if architecture != info.architecture:
        path = f"{_IMAGE}/platform/architecture"
        yield Remark(node_reasons.ARCHITECTURE, path, {"value": architecture})
    system = platform.get("os") or info.system
    if system != info.system:
        path = f"{_IMAGE}/platform/os"
        yield Remark(node_reasons.OPERATING_SYSTEM, path, {"value": system})
    words = [*(executable.get("command") or ()), executable.get("entrypoint") or ""]
    for i, word in enumerate(words):
        if "\0" in word:
            is_entrypoint = i == len(words) - 1
            path = "/executable/entrypoint" if is_entrypoint else f"/executable/command/{i}"
            yield Remark(reasons.NULL_CHARACTER, path, {"value": word.replace("\0", "\\0")})


def _on_locations(locations: list[str], settings: DockerSettings) -> Iterator[Remark]:
    """Locations of no use are passed over as long as there is another."""
    remarks = []
    for i, location in enumerate(locations):
        reference = parse(location)
        if reference is None:
            reason = reasons.REFERENCE_SYNTAX
        elif not reference.is_of(settings.registries):
            reason = reasons.REGISTRY_DENIED
        else:
            return
        remarks.append(Remark(reason, f"{_IMAGE}/locations/{i}", {"value": location}))
    yield from remarks


def _on_environment(executable: Document) -> Iterator[Remark]:
    for name, value in (executable.get("environment") or {}).items():
        # A pointer escapes these two (RFC 6901, section 3).
        path = "/executable/environment/" + name.replace("~", "~0").replace("/", "~1")
        if not name or "=" in name or "\0" in name:
            shown = name.replace("\0", "\\0")
            yield Remark(reasons.ENVIRONMENT_NAME, path, {"value": shown})
        elif "\0" in value:
            yield Remark(reasons.NULL_CHARACTER, path, {"value": name})


def _on_volumes(document: Document, settings: DockerSettings) -> Iterator[Remark]:
    volumes = (document.get("compute") or {}).get("volumes") or ()
    for i, volume in enumerate(volumes):
        path = volume.get("path")
        if not path:
            continue
        pointer = f"/compute/volumes/{i}/path"
        if ".." in path.split("/"):
            yield Remark(reasons.VOLUME_LEADS_OUT, pointer, {"value": path})
            continue
        if not is_plain(path):
            shown = path.encode("unicode_escape").decode()
            yield Remark(reasons.VOLUME_CHARACTERS, pointer, {"value": shown})
            continue
        hidden = hidden_by(path, settings.site_mounts)
        if hidden is not None:
            yield Remark(reasons.VOLUME_HIDES, pointer, {"value": path, "hidden": hidden})


def _sandbox(settings: DockerSettings, info: EngineInfo) -> Remark:
    values = {
        "engine": str(info),
        "capabilities": ", ".join(settings.capabilities) or "none",
        "root": "read-only" if settings.read_only_root else "writable",
        "processes": str(settings.processes),
    }
    return Remark(reasons.SANDBOX, "/executable", values)
