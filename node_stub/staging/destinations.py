"""Where the files of a storage resource are to be sent when the job has ended. Pure.

A storage resource may carry, beyond the public schema, ``location``: ``https://host/path``, to
which each file is PUT under its relative path, or ``s3+https://endpoint/bucket/prefix``, which is
the same on an S3 service, signed with the site's keys that ``credentials`` names. A query in the
location goes with every file.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from yarl import URL

from gateway.wire.documents import Document
from node_stub.staging import reasons
from node_stub.staging.allowlist import UrlRules, shown
from node_stub.staging.credentials import Keyring
from node_stub.staging.errors import RefusedError
from node_stub.staging.reading import text

S3_PREFIX: Final = "s3+"
"""What the scheme of an S3 destination begins with."""

MAX_S3_PUT_BYTES: Final = 5 << 30
"""Largest object that S3 takes in one piece. Source: Amazon S3 user guide, "Uploading objects"."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where one storage resource is sent; ``credentials`` names S3 keys of the site."""

    url: str
    is_s3: bool
    credentials: str | None

    def url_of(self, relative: bytes) -> str:
        """Where a file with this path goes."""
        address, mark, query = self.url.partition("?")
        return f"{address.rstrip('/')}/{quote(relative, safe='/-._~')}{mark}{query}"


def read_destination(storage: Document) -> Destination | None:
    """Where a storage resource is to be sent; None if it stays."""
    location = text(storage, "location")
    if location is None:
        return None
    location = location.strip()
    is_s3 = location.lower().startswith(S3_PREFIX)
    url = location[len(S3_PREFIX) :] if is_s3 else location
    return Destination(url, is_s3, text(storage, "credentials"))


def check_destination(destination: Destination, rules: UrlRules, keyring: Keyring) -> URL:
    """The URL that files are sent below, if the site allows it.

    Raises
    ------
    RefusedError
    """
    if not rules.hosts:
        raise RefusedError(reasons.PUSH_REFUSED, location=shown(destination.url))
    url = rules.check(destination.url)
    if destination.credentials is not None:
        if not destination.is_s3:
            raise RefusedError(
                reasons.CREDENTIALS_ELSEWHERE,
                name=destination.credentials[:100],
                location=shown(url),
            )
        keyring.check(destination.credentials, url)
    return url
