"""Serving over TLS, by settings; who calls may have to show a certificate too."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from marshmallow import ValidationError, validates_schema

from gateway.httpkit.files import FileField
from gateway.httpkit.settings import SettingsSchema
from gateway.wire.certificates import LOOK_EVERY_S, CertificateFiles, FreshCertificates


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """What is shown to whoever connects: PEM files, read again when they have changed.

    ``key`` may be left out where it is in the file of the certificate. With ``client_ca`` only
    those are served who show a certificate of these authorities (mutual TLS).
    """

    certificate: Path
    key: Path | None = None
    client_ca: Path | None = None

    def files(self) -> CertificateFiles:
        """The files as they are read."""
        return CertificateFiles(self.certificate, self.key, self.client_ca)

    def context(self) -> ssl.SSLContext:
        """How connections are taken.

        Raises
        ------
        OSError
            A file cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self.files().load(context)
        if self.client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class TlsSchema(SettingsSchema):
    """Section ``tls``."""

    settings_class: ClassVar[type] = TlsSettings

    certificate = FileField(required=True)
    key = FileField()
    client_ca = FileField()

    @validates_schema
    def check_files(self, data: dict[str, Any], **_: Any) -> None:
        """Say early that a file cannot be used."""
        check_files(TlsSettings(**data).files())


def check_files(files: CertificateFiles) -> None:
    """Say that certificates cannot be used.

    Raises
    ------
    ValidationError
    """
    try:
        files.load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    except OSError as error:
        raise ValidationError(f"the certificate, key or authorities: {error}") from error


@asynccontextmanager
async def served_with(settings: TlsSettings | None) -> AsyncIterator[ssl.SSLContext | None]:
    """How connections are taken while the context lasts; None is without TLS.

    Raises
    ------
    OSError
        A file cannot be used.
    """
    if settings is None:
        yield None
        return
    context = settings.context()
    fresh = FreshCertificates(context, settings.files())
    watching = asyncio.create_task(_watch(fresh))
    try:
        yield context
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def _watch(fresh: FreshCertificates) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        fresh.refresh()
