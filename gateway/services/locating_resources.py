"""What a data resource of a request points to: data in a lake, or a place that the settings know.

Pure, and lenient: a client may write anything into a resource, and what cannot be read here may
still be understood by a node.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from gateway.domain.holdings import Checksum, Copy, Did, DidKind, Holding, Part, Place
from gateway.wire.documents import Document
from gateway.wire.kinds import IVOA_DATA, RUCIO_DATA, S3_DATA, SIMPLE_DATA, SKAO_DATA

SKA_AUTHORITIES: Final = frozenset({"skao.int", "skao.net"})
"""``ivo://`` identifiers of these name data in the lake; both are in use."""

_KINDS: Final = {kind.value: kind for kind in DidKind}
_KB: Final = 1000
"""ObsCore gives sizes in kilobytes (``access_estsize``, IVOA ObsCore 1.1 section 3.2.4)."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """What one resource points to.

    At most one of ``did`` and ``host`` is given; ``endpoint`` is the Rucio that the client says
    knows it. ``why`` says what is wrong where neither is. ``hint`` is what the client itself says
    of the data, for want of better.
    """

    name: str
    did: Did | None = None
    endpoint: str | None = None
    host: str | None = None
    why: str = ""
    hint: Holding | None = field(default=None, repr=False)


def pointer_of(resource: Document) -> Pointer:
    """Read one resource; whatever is in it, this gives an answer."""
    kind = resource.get("kind")
    if kind == SKAO_DATA:
        return _skao(_mapping(resource, "skao"), _mapping(resource, "ivoa"))
    if kind == RUCIO_DATA:
        return _rucio(_mapping(resource, "rucio"))
    if kind == IVOA_DATA:
        return _ivoa(_mapping(resource, "ivoa"))
    if kind == S3_DATA:
        return _s3(resource)
    if kind == SIMPLE_DATA:
        return _simple(_text(resource.get("location")))
    return Pointer(f"{kind}", why="resources of this kind are not known here")


def did_in_ivoid(ivoid: str) -> Did | None:
    """The identifier in ``ivo://skao.int/data?namespace:name``; None for any other ``ivo://``.

    Where there is no colon, the first slash parts the two.
    """
    parts = _split(ivoid)
    if parts is None or parts[0] != "ivo" or parts[1] not in SKA_AUTHORITIES:
        return None
    query = unquote(parts[2])
    mark = ":" if ":" in query else "/"
    namespace, _, name = query.partition(mark)
    return Did(namespace, name) if namespace and name else None


def host_of(url: str) -> str | None:
    """The host of a URL in lower case; for ``vos://cadc.nrc.ca~vault/x`` the whole authority."""
    parts = _split(url)
    return parts[1] or None if parts is not None else None


class HostSites:
    """Which site a host belongs to, as the settings say: whole names, or ``*.example.org``."""

    def __init__(self, hosts: Iterable[tuple[str, str]]) -> None:
        self._exact: dict[str, str] = {}
        self._suffixes: dict[str, str] = {}
        for host, site in hosts:
            pattern = host.lower()
            if pattern.startswith("*."):
                self._suffixes[pattern[1:]] = site
            else:
                self._exact[pattern] = site

    def site_of(self, host: str) -> str | None:
        """The site; of several patterns the longest counts."""
        found = self._exact.get(host)
        if found is not None:
            return found
        at = host.find(".")
        while at >= 0:
            found = self._suffixes.get(host[at:])
            if found is not None:
                return found
            at = host.find(".", at + 1)
        return None


def outside_holding(pointer: Pointer, site: str) -> Holding:
    """Data at a host of this site. Their size is only what the client says."""
    hint = pointer.hint or Holding(None)
    copy = Copy(Place(site=site), hint.bytes, 1)
    part = Part(pointer.name, hint.bytes, 1, (copy,))
    return replace(hint, files=1, parts=(part,), is_approximate=hint.bytes is not None)


def with_hint(holding: Holding, hint: Holding | None) -> Holding:
    """A holding whose size the lake does not know, with that which the client gives."""
    if hint is None or hint.bytes is None or holding.bytes is not None or len(holding.parts) != 1:
        return holding
    (part,) = holding.parts
    copies = tuple(
        replace(copy, bytes=hint.bytes) if copy.is_complete else copy for copy in part.copies
    )
    sized = replace(part, bytes=hint.bytes, copies=copies)
    return replace(holding, bytes=hint.bytes, parts=(sized,), is_approximate=True)


def _skao(skao: Mapping[str, Any], ivoa: Mapping[str, Any]) -> Pointer:
    namespace, name = _text(skao.get("namespace")), _text(skao.get("objectname"))
    if not namespace and not name:
        ivoid = _text(ivoa.get("ivoid"))
        did = did_in_ivoid(ivoid)
        if did is None:
            return Pointer(ivoid or "SKAO data", why="it has no namespace and no object name")
        return Pointer(str(did), did=did, hint=_skao_hint(did, skao))
    if not namespace or not name:
        return Pointer(f"{namespace}:{name}", why="it has only one of namespace and object name")
    did = Did(namespace, name)
    return Pointer(str(did), did=did, hint=_skao_hint(did, skao))


def _skao_hint(did: Did, skao: Mapping[str, Any]) -> Holding | None:
    """What the client, or a gateway before this one, found out already."""
    size = _count(skao.get("datasize"))
    checksum = _mapping(skao, "checksum")
    urls: dict[str, list[str]] = {}
    replicas = skao.get("replicas")
    for replica in replicas if isinstance(replicas, list) else ():
        if isinstance(replica, Mapping) and (rse := _text(replica.get("rsename"))):
            urls.setdefault(rse, []).extend(filter(None, [_text(replica.get("dataurl"))]))
    if size is None and not urls:
        return None
    copies = tuple(Copy(Place(rse=rse), size, urls=tuple(urls[rse])) for rse in sorted(urls))
    kind, value = _text(checksum.get("type")).lower(), _text(checksum.get("value"))
    return Holding(
        did,
        _KINDS.get(_text(skao.get("objecttype")), DidKind.UNKNOWN),
        bytes=size,
        parts=(Part(str(did), size, copies=copies),) if copies else (),
        checksums=(Checksum(kind, value),) if kind and value else (),
        is_approximate=True,
    )


def _rucio(rucio: Mapping[str, Any]) -> Pointer:
    scope, name = _text(rucio.get("scope")), _text(rucio.get("object"))
    if not scope and ":" in name:
        scope, _, name = name.partition(":")
    if not scope or not name:
        return Pointer(f"{scope}:{name}", why="it has no scope or no object")
    did = Did(scope, name)
    return Pointer(str(did), did=did, endpoint=_text(rucio.get("endpoint")) or None)


def _ivoa(ivoa: Mapping[str, Any]) -> Pointer:
    ivoid = _text(ivoa.get("ivoid"))
    obscore, datalink = _mapping(ivoa, "obscore"), _mapping(ivoa, "datalink")
    for candidate in (ivoid, _text(obscore.get("obs_publisher_did"))):
        did = did_in_ivoid(candidate)
        if did is not None:
            return Pointer(str(did), did=did, hint=_ivoa_hint(did, obscore, datalink))
    name = ivoid or _text(obscore.get("obs_publisher_did")) or "IVOA data"
    for url in (_text(datalink.get("access_url")), _text(obscore.get("access_url"))):
        host = host_of(url)
        if host is not None:
            return Pointer(name, host=host, hint=_ivoa_hint(None, obscore, datalink))
    return Pointer(name, why="it has no access URL")


def _ivoa_hint(
    did: Did | None, obscore: Mapping[str, Any], datalink: Mapping[str, Any]
) -> Holding | None:
    size = _count(datalink.get("content_length"))
    if size is None:
        kilobytes = _count(obscore.get("access_estsize"))
        size = None if kilobytes is None else kilobytes * _KB
    return None if size is None else Holding(did, bytes=size, is_approximate=True)


def _s3(resource: Document) -> Pointer:
    bucket, key = _text(resource.get("bucket")), _text(resource.get("object"))
    for url in (_text(resource.get("endpoint")), _text(resource.get("template"))):
        # A host that is in braces is filled in from the bucket: what follows it says the place.
        host = host_of(url.replace("{bucket}", bucket or "bucket"))
        if host is not None:
            return Pointer(f"s3://{bucket}/{key}", host=host)
    return Pointer(f"s3://{bucket}/{key}", why="it has no endpoint")


def _simple(location: str) -> Pointer:
    scheme, _, rest = location.partition(":")
    if scheme.lower() == "rucio" and ":" in rest:
        scope, _, name = rest.lstrip("/").partition(":")
        if scope and name and "/" not in scope:
            return Pointer(f"{scope}:{name}", did=Did(scope, name))
    did = did_in_ivoid(location)
    if did is not None:
        return Pointer(str(did), did=did)
    host = host_of(location)
    if host is not None:
        return Pointer(_shown(location), host=host)
    return Pointer(_shown(location) or "data", why="it has no host")


def _split(url: str) -> tuple[str, str, str] | None:
    """Scheme, authority without user and port, and query of a URL; None if it is not one."""
    try:
        parts = urlsplit(url.strip())
        authority = parts.hostname or ""
    except ValueError:
        return None
    return (parts.scheme.lower(), authority, parts.query) if parts.scheme else None


def _shown(url: str) -> str:
    """A URL for messages: without its query, where signatures are, and without user."""
    bare = url.partition("?")[0].partition("#")[0]
    head, separator, rest = bare.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{head}{separator}{authority.rpartition('@')[2]}{slash}{path}"[:200]


def _mapping(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _count(value: object) -> int | None:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and isinstance(value, int) and value >= 0 else None
