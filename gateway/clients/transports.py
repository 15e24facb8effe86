"""The transport that the settings ask for."""

from gateway.clients.addresses import AddressGuard
from gateway.clients.lean.transport import LeanTransport
from gateway.clients.transport import AiohttpTransport
from gateway.settings import TransportSettings, TransportType


def transport_of(
    settings: TransportSettings, guard: AddressGuard | None = None
) -> LeanTransport | AiohttpTransport:
    """The transport for the node brokers; whoever gets it opens and closes it.

    ``guard`` says where they may be; None: anywhere.
    """
    if settings.type is TransportType.LEAN:
        return LeanTransport(settings, guard)
    return AiohttpTransport(settings, guard)
