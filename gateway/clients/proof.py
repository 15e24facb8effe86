"""What is asked of a URL that a stranger has named. Knows no HTTP library.

``gateway.clients.node_proving`` asks it.
"""

from dataclasses import dataclass
from typing import Protocol

from gateway.domain.capabilities import Capabilities


class ProvingError(Exception):
    """The URL is not what was said of it; the text says why, without anything that was read."""


@dataclass(frozen=True, slots=True)
class Found:
    """The capabilities at a URL, as they were read, and the entity tag that came with them."""

    raw: bytes
    capabilities: Capabilities
    digest: str


class Prover(Protocol):
    """Tries URLs."""

    async def prove(self, url: str, key: bytes) -> None:
        """See whether who serves the URL holds the key; ``url`` has no slash at its end.

        Raises
        ------
        ProvingError
        """
        ...

    async def capabilities(self, url: str) -> Found:
        """What the broker at the URL says it can do.

        Raises
        ------
        ProvingError
        """
        ...
