"""The transport that the settings ask for."""

from gateway.clients.lean.transport import LeanTransport
from gateway.clients.transport import AiohttpTransport
from gateway.settings import TransportSettings, TransportType


def transport_of(settings: TransportSettings) -> LeanTransport | AiohttpTransport:
    """The transport for the node brokers; whoever gets it opens and closes it."""
    if settings.type is TransportType.LEAN:
        return LeanTransport(settings)
    return AiohttpTransport(settings)
