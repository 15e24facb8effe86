"""Whose certificates are believed."""

import ssl
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=4)
def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Verifies certificates against those in ``ca_file``; None is the system's authorities.

    Read once in the life of a process: the system's take some 50 ms.

    Raises
    ------
    OSError
        There is no such file, or no certificate in it.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context
