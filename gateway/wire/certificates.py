"""Certificates on either end of a connection, read again when their files have changed."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from gateway.wire.file_state import state_of

LOOK_EVERY_S: Final = 10.0
"""How often to call ``refresh``: certificates are renewed days before they end."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Files in PEM: a certificate with its chain, its key where that is not in the same file.

    ``authorities`` are those whose certificates are believed.
    """

    certificate: Path | None = None
    key: Path | None = None
    authorities: Path | None = None

    def load(self, context: ssl.SSLContext) -> None:
        """Take all into use, for the connections made from now on.

        Raises
        ------
        OSError
            A file is missing, or unusable (``ssl.SSLError``), or the key is another certificate's.
        """
        for file in (self.certificate, self.key, self.authorities):
            if file is not None:
                file.open("rb").close()  # OpenSSL does not say which one is missing
        if self.authorities is not None:
            context.load_verify_locations(self.authorities)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key, password=_refuse)

    def state(self) -> tuple[object, ...]:
        """What changes when one of them is written or replaced."""
        files = (self.certificate, self.key, self.authorities)
        return tuple(state_of(file) for file in files if file is not None)


class FreshCertificates:
    """A context whose files are looked at again whenever ``refresh`` is called.

    Authorities that were taken out of their file count until the next start: a context forgets
    none.
    """

    def __init__(self, context: ssl.SSLContext, files: CertificateFiles) -> None:
        self._context = context
        self._files = files
        self._state = files.state()

    def refresh(self) -> None:
        """Take what has changed into use; what cannot be used is told in the log, and not taken."""
        state = self._files.state()
        if state == self._state:
            return
        self._state = state
        try:
            # A certificate without its key, half-way through a change, must not come into use.
            self._files.load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._files.load(self._context)
        except OSError as error:
            _log.warning("certificate_not_usable", reason=_reason(error))
        else:
            _log.info("certificate_replaced")


def _reason(error: OSError) -> str:
    return error.reason if isinstance(error, ssl.SSLError) else error.strerror or str(error)


def _refuse() -> bytes:
    """Answers OpenSSL's question for the password of a key, which it would ask on the terminal."""
    message = "the key is encrypted: give one that is not, in a file that others cannot read"
    raise PermissionError(message)
