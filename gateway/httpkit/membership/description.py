"""What a service says of itself to the gateways that it joins."""

from dataclasses import dataclass
from typing import Protocol

from gateway.wire.documents import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a gateway is told at registration, beside the capabilities that it reads itself.

    ``storage`` names the Rucio storage elements near the service. ``is_draining``: it wants no new
    requests.
    """

    name: str
    site: str | None = None
    storage: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    is_draining: bool = False


class Description(Protocol):
    """Gives what a service says of itself, as it is now."""

    async def facts(self) -> Facts:
        """What it is called, and where it is."""
        ...

    async def capabilities(self) -> Document:
        """What it can do: the document of ``GET /capabilities``."""
        ...
