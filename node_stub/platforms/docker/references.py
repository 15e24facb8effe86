"""Names of images: ``host:port/path/name:tag@sha256:…``, each part but the name optional.

The grammar is that of the reference implementation:
https://pkg.go.dev/github.com/distribution/reference. Nothing else reaches an engine.
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
"""A digest of a manifest or of a configuration; engines know no other kind."""

DEFAULT_REGISTRY: Final = "docker.io"
DEFAULT_TAG: Final = "latest"

_HOST: Final = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)"
_DOMAIN: Final = rf"(?:{_HOST}(?:\.{_HOST})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE: Final = re.compile(
    rf"(?P<name>(?:(?P<first>{_DOMAIN})/)?{_PART}(?:/{_PART})*)"
    rf"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?"
    rf"(?:@(?P<digest>{DIGEST.pattern}))?"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A name of an image. ``name`` is without tag and digest, as it was given."""

    name: str
    registry: str
    tag: str
    digest: str | None

    @property
    def tagged(self) -> str:
        """By its tag, which may come to mean another image."""
        return f"{self.name}:{self.tag}"

    def pinned(self, digest: str) -> str:
        """By a digest, which always means the same."""
        return f"{self.name}@{digest}"

    def is_of(self, patterns: tuple[str, ...]) -> bool:
        """Whether its registry is one of these."""
        return any(fnmatchcase(self.registry, pattern) for pattern in patterns)


def parse(location: str) -> Reference | None:
    """What a location names; None if it is not the name of an image."""
    found = _REFERENCE.fullmatch(location)
    if found is None:
        return None
    first = found["first"]
    # The first part is a host only if it looks like one: docker.io is left out by habit.
    is_host = first is not None and (first == "localhost" or any(c in first for c in ".:["))
    if first is not None and not is_host and not re.fullmatch(_PART, first):
        return None
    return Reference(
        name=found["name"],
        registry=first if first is not None and is_host else DEFAULT_REGISTRY,
        tag=found["tag"] or DEFAULT_TAG,
        digest=found["digest"],
    )
