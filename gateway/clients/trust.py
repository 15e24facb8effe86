"""Whose certificates are believed, and which one is shown."""

import ssl
from functools import lru_cache
from pathlib import Path

from gateway.settings import TransportSettings
from gateway.wire.certificates import CertificateFiles, FreshCertificates


@lru_cache(maxsize=8)
def tls_context(
    ca_file: Path | None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """Verifies certificates against those in ``ca_file``; None is the system's authorities.

    A node that asks for one is shown ``certificate`` (mutual TLS). One context for the life of the
    process: the system's authorities take some 50 ms to read.

    Raises
    ------
    OSError
        A file is missing, or cannot be used.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    CertificateFiles(certificate, key).load(context)
    return context


def trust_of(settings: TransportSettings) -> ssl.SSLContext:
    """How nodes are connected to."""
    return tls_context(settings.ca_file, settings.certificate, settings.key)


def fresh_trust(settings: TransportSettings) -> FreshCertificates:
    """The same, to be looked after: certificates are renewed while the gateway runs."""
    files = CertificateFiles(settings.certificate, settings.key, settings.ca_file)
    return FreshCertificates(trust_of(settings), files)
