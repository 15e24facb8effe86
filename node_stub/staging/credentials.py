"""Which of the site's S3 keys a request may use: those it names, and only where they belong."""

from collections.abc import Mapping
from importlib import import_module

from yarl import URL

from node_stub.staging import reasons
from node_stub.staging.allowlist import host_of, matches, shown
from node_stub.staging.client import Signer
from node_stub.staging.errors import RefusedError
from node_stub.staging.settings import S3Credentials


class Keyring:
    """The S3 credentials of the site. Without any, botocore need not be installed.

    Raises
    ------
    ImportError
        There are credentials, and botocore is missing.
    """

    def __init__(self, credentials: Mapping[str, S3Credentials]) -> None:
        self._credentials = credentials
        self._signing = import_module("node_stub.staging.signing") if credentials else None

    def check(self, name: str, url: URL) -> S3Credentials:
        """The keys of this name.

        Raises
        ------
        RefusedError
            There are none, or they are not for where the URL leads.
        """
        found = self._credentials.get(name)
        if found is None:
            raise RefusedError(reasons.CREDENTIALS_UNKNOWN, name=name[:100])
        if not any(_is_at(url, endpoint) for endpoint in found.endpoints):
            raise RefusedError(reasons.CREDENTIALS_ELSEWHERE, name=name, location=shown(url))
        return found

    def signer(self, name: str | None, url: URL, body_sha256: str | None = None) -> Signer | None:
        """What signs requests to this URL; None, where no keys are named, signs nothing.

        Raises
        ------
        RefusedError
            As `check`.
        """
        if name is None:
            return None
        keys = self.check(name, url)
        assert self._signing is not None  # there are keys
        more = () if body_sha256 is None else (body_sha256,)
        signer: Signer = self._signing.s3_signer(keys, *more)
        return signer


def _is_at(url: URL, endpoint: str) -> bool:
    """Whether a URL is of this endpoint: same scheme and port, and its host."""
    scheme, _, authority = endpoint.rstrip("/").partition("://")
    host, _, port = authority.partition(":")
    default = 443 if scheme == "https" else 80
    has_port = url.port == int(port or default)
    return url.scheme == scheme and has_port and matches(host_of(url), host)
