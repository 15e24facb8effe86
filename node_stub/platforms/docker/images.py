"""Which image satisfies a request: locations in their order, its digest exactly, its platform."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from gateway.wire.documents import Document
from node_stub.platforms.docker.client import EngineClient, EngineError, EngineInfo, Inspection
from node_stub.platforms.docker.references import DIGEST, Reference, parse
from node_stub.platforms.docker.settings import DockerSettings, PullPolicy

FINAL_STATUS: Final = frozenset({400, 401, 403, 404})
"""A registry that answers so will answer so again. Podman gives no status: it may be anything."""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """What image is wanted. ``digest`` is that of a manifest in a registry, or an image's id."""

    locations: tuple[str, ...]
    digest: str | None
    architecture: str
    system: str

    @property
    def platform(self) -> str:
        """The platform as registries name it."""
        return f"{self.system}/{self.architecture}"


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image that is here: its id, and the working directory that it asks for, if any."""

    location: str
    id: str
    working_directory: str = ""
    was_pulled: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a location was of no use; one that is not final may go away with time."""

    location: str
    detail: str
    is_final: bool = True

    def __str__(self) -> str:
        return f"{self.location}: {self.detail}"


class NoImageError(Exception):
    """No location gives the image that was asked for."""

    def __init__(self, troubles: tuple[Trouble, ...]) -> None:
        super().__init__("; ".join(str(trouble) for trouble in troubles))
        self.is_final = all(trouble.is_final for trouble in troubles)


def request_of(image: Document, info: EngineInfo) -> ImageRequest:
    """What the document asks for; where it does not say, the engine's own platform."""
    platform = image.get("platform") or {}
    return ImageRequest(
        locations=tuple(image["locations"]),
        digest=image.get("digest") or None,
        architecture=platform.get("architecture") or info.architecture,
        system=platform.get("os") or info.system,
    )


def digests_of(image: Inspection) -> frozenset[str]:
    """Everything that pins exactly this image: its id, and its digests in registries."""
    pinned = {name.rpartition("@")[2] for name in image.get("RepoDigests") or ()}
    return frozenset(pinned | {_id_of(image)})


def fault_of(image: Inspection, wanted: ImageRequest, digest: str | None) -> str | None:
    """Why an image is not the one that is wanted; None if it is."""
    if digest is not None and digest not in digests_of(image):
        return f"has the digest {', '.join(sorted(digests_of(image)))}"
    platform = f"{image.get('Os')}/{image.get('Architecture')}"
    if platform != wanted.platform:
        return f"is for {platform}"
    return None


async def find(
    client: EngineClient, wanted: ImageRequest, settings: DockerSettings
) -> FoundImage | None:
    """The image if the engine has it; None if it has not.

    Raises
    ------
    EngineAwayError
    EngineError
    """
    for location in wanted.locations:
        reference = parse(location)
        if reference is not None and reference.is_of(settings.registries):
            digest = _digest(reference, wanted)
            if not isinstance(digest, Trouble):
                found, _ = await _local(client, reference, wanted, digest, location)
                if found is not None:
                    return found
    return None


async def provide(
    client: EngineClient, wanted: ImageRequest, settings: DockerSettings
) -> FoundImage:
    """The image, pulled where it must be. Each location is tried once.

    Raises
    ------
    NoImageError
        With what is wrong with each location.
    EngineAwayError
    """
    troubles: list[Trouble] = []
    for location in wanted.locations:
        found = await _provide_from(client, location, wanted, settings)
        if isinstance(found, FoundImage):
            return found
        troubles.append(found)
    raise NoImageError(tuple(troubles))


async def _provide_from(
    client: EngineClient, location: str, wanted: ImageRequest, settings: DockerSettings
) -> FoundImage | Trouble:
    reference = parse(location)
    if reference is None:
        return Trouble(location, "is not the name of an image")
    if not reference.is_of(settings.registries):
        return Trouble(location, "is not in a registry that may be used here")
    digest = _digest(reference, wanted)
    if isinstance(digest, Trouble):
        return digest
    fault: str | None = None
    if settings.pull is not PullPolicy.ALWAYS or digest is not None:
        found, fault = await _local(client, reference, wanted, digest, location)
        if found is not None:
            return found
    if settings.pull is PullPolicy.NEVER:
        return Trouble(location, fault or "is not here, and nothing is pulled")
    return await _pulled(client, reference, wanted, digest, location, settings.pull_timeout_s)


async def _local(
    client: EngineClient,
    reference: Reference,
    wanted: ImageRequest,
    digest: str | None,
    location: str,
) -> tuple[FoundImage | None, str | None]:
    """The image under this name if it is the right one; else what is wrong with what is there."""
    names = [reference.tagged] if digest is None else [reference.pinned(digest), reference.tagged]
    fault: str | None = None
    for name in names:
        image = await client.image(name)
        if image is not None:
            fault = fault_of(image, wanted, digest)
            if fault is None:
                return _found(image, location), None
    return None, fault


async def _pulled(
    client: EngineClient,
    reference: Reference,
    wanted: ImageRequest,
    digest: str | None,
    location: str,
    timeout_s: float,
) -> FoundImage | Trouble:
    """The image from its registry: by digest, else by tag, as the digest may be an image's id."""
    names = [reference.tagged] if digest is None else [reference.pinned(digest), reference.tagged]
    trouble = Trouble(location, "cannot be pulled")
    for name in names:
        try:
            await client.pull(name, wanted.platform, timeout_s)
        except EngineError as error:
            trouble = Trouble(location, str(error), is_final=error.status in FINAL_STATUS)
            continue
        except TimeoutError:
            return Trouble(location, f"was not pulled within {timeout_s:.0f} s", is_final=False)
        image = await client.image(name)
        if image is None:
            return Trouble(location, "was pulled and removed again", is_final=False)
        fault = fault_of(image, wanted, digest)
        if fault is None:
            return replace(_found(image, location), was_pulled=True)
        trouble = Trouble(location, fault)
    return trouble


def _digest(reference: Reference, wanted: ImageRequest) -> str | Trouble | None:
    """The digest to insist on; a location may name one itself, but not another one."""
    if wanted.digest and not DIGEST.fullmatch(wanted.digest):
        return Trouble(reference.tagged, f"cannot have the digest {wanted.digest}")
    if wanted.digest and reference.digest and wanted.digest != reference.digest:
        return Trouble(reference.pinned(reference.digest), f"is not {wanted.digest}")
    return wanted.digest or reference.digest


def _found(image: Inspection, location: str) -> FoundImage:
    config: Mapping[str, Any] = image.get("Config") or {}
    return FoundImage(location, _id_of(image), config.get("WorkingDir") or "")


def _id_of(image: Inspection) -> str:
    """Podman leaves out the kind of digest in places."""
    found: str = image["Id"]
    return found if ":" in found else f"sha256:{found}"
