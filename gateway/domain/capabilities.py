"""What a broker says of itself at ``GET /capabilities``, and what follows for requests. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.wire.documents import Document

VERSION: Final = 1
"""The version of the document that is read here."""

MAX_ITEMS: Final = 1000
"""Kinds, platforms or storage areas in one document: the schema has fifteen kinds."""

MAX_TEXT: Final = 500
"""Characters of one of them; kind URIs have a hundred."""

_MAX_AMOUNT: Final = 2**53
"""Beyond it JSON numbers are not exact; no site has so many cores or gibibytes."""


class CapabilitiesError(Exception):
    """The document is none that can be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a broker can do. None or empty: it does not say.

    ``identity`` is that of its installation, whatever its name and URL. ``cores``, ``memory_gib``
    and ``storage_gib`` are what it gives one request at most. ``storage`` names storage elements or
    areas near it.
    """

    service: str
    release: str | None = None
    identity: str | None = None
    kinds: frozenset[str] = frozenset()
    platforms: tuple[str, ...] = ()
    cores: float | None = None
    memory_gib: float | None = None
    storage_gib: float | None = None
    storage: tuple[str, ...] = ()
    authentication: tuple[str, ...] = ()
    idempotency: bool | None = None
    max_hops: int | None = None

    def to_document(self) -> Document:
        """The same for ``GET /nodes``; what is not known is null."""
        return {
            "service": self.service,
            "release": self.release,
            "identity": self.identity,
            "kinds": sorted(self.kinds),
            "platforms": list(self.platforms),
            "limits": {
                "cores": self.cores,
                "memory_gib": self.memory_gib,
                "storage_gib": self.storage_gib,
            },
            "storage": list(self.storage),
            "authentication": list(self.authentication),
            "idempotency": self.idempotency,
            "max_hops": self.max_hops,
        }

    def lacks(self, kinds: frozenset[str]) -> frozenset[str]:
        """Kinds that the broker does not list.

        It may list those of some families alone, such as executables: one of a family of which it
        lists none is not held against it. A kind's family is its URI but for the last part.
        """
        if not self.kinds:
            return frozenset()
        strange = kinds - self.kinds
        if not strange:
            return strange
        families = {_family(kind) for kind in self.kinds}
        return frozenset(kind for kind in strange if _family(kind) in families)

    def exceeded_by(self, cores: float | None, memory_gib: float | None) -> Reason | None:
        """Why a request that needs so much is beyond the broker, if it is."""
        for what, needed, limit in (
            ("cores", cores, self.cores),
            ("GiB of memory", memory_gib, self.memory_gib),
        ):
            if needed is not None and limit is not None and needed > limit:
                return reason(
                    ReasonCode.BEYOND_NODE_LIMITS, what=what, needed=needed, limit=f"{limit:g}"
                )
        return None


def read_capabilities(document: object) -> Capabilities:
    """The capabilities that a document states. Members that are not known are left out.

    Raises
    ------
    CapabilitiesError
    """
    if not isinstance(document, Mapping):
        raise CapabilitiesError("it is no JSON object")
    if document.get("version") != VERSION:
        raise CapabilitiesError(f"version is not {VERSION}")
    limits = document.get("limits")
    if limits is None:
        limits = {}
    if not isinstance(limits, Mapping):
        raise CapabilitiesError("limits is no object")
    service = _text(document, "service")
    if service is None:
        raise CapabilitiesError("service is missing")
    hops = _amount(document, "max_hops")
    return Capabilities(
        service=service,
        release=_text(document, "release"),
        identity=_text(document, "identity"),
        kinds=frozenset(_texts(document, "kinds")),
        platforms=_texts(document, "platforms"),
        cores=_amount(limits, "cores"),
        memory_gib=_amount(limits, "memory_gib"),
        storage_gib=_amount(limits, "storage_gib"),
        storage=_texts(document, "storage"),
        authentication=_texts(document, "authentication"),
        idempotency=_flag(document, "idempotency"),
        max_hops=None if hops is None else int(hops),
    )


def _family(kind: str) -> str:
    return kind.rpartition("/")[0]


def _text(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise CapabilitiesError(f"{name} is no text of 1 to {MAX_TEXT} characters")
    return value


def _texts(document: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = document.get(name)
    if values is None:
        return ()
    if not isinstance(values, list) or len(values) > MAX_ITEMS:
        raise CapabilitiesError(f"{name} is no list of {MAX_ITEMS} texts at most")
    if not all(isinstance(value, str) and 0 < len(value) <= MAX_TEXT for value in values):
        raise CapabilitiesError(f"{name} has what is no text of 1 to {MAX_TEXT} characters")
    return tuple(values)


def _amount(document: Mapping[str, Any], name: str) -> float | None:
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CapabilitiesError(f"{name} is no number")
    if not 0 <= value <= _MAX_AMOUNT:
        raise CapabilitiesError(f"{name} is no amount")
    return value


def _flag(document: Mapping[str, Any], name: str) -> bool | None:
    value = document.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise CapabilitiesError(f"{name} is neither true nor false")
