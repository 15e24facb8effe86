"""Which URLs a site fetches from or sends to.

Pure: what is looked up or opened because of it is checked again.
"""

import posixpath
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from yarl import URL

from gateway.wire.addresses import is_allowed, parse_address
from node_stub.staging import reasons
from node_stub.staging.errors import RefusedError

HTTP_SCHEMES: Final = frozenset({"http", "https"})
"""What goes over the network."""

MAX_URL: Final = 8192
"""Longest URL, in characters: common servers refuse longer ones."""

_MAX_SHOWN: Final = 300
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\\]")
_ENCODED: Final = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
_SIGNATURES: Final = frozenset(
    {"x-amz-signature", "x-goog-signature", "signature", "sig", "authz", "token", "access_token"}
)
_LOCAL_NAMES: Final = (".localhost", ".local", ".internal")


def shown(url: URL | str) -> str:
    """A URL as people may see it: without query, user and password, and not endlessly long."""
    text = str(url).partition("?")[0].partition("#")[0]
    scheme, separator, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    text = f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"


def parse_url(text: str) -> URL:
    """The URL, every byte as it is written where that is possible: signatures cover it.

    Raises
    ------
    RefusedError
        It cannot be read, names no host, or carries a user or a password.
    """
    where = shown(text)
    if len(text) > MAX_URL or _FORBIDDEN.search(text.strip(" ")):
        raise RefusedError(reasons.URL_SYNTAX, location=where)
    text = text.strip(" ")
    try:
        url = URL(text, encoded=_ENCODED.fullmatch(text) is not None).with_fragment(None)
        host, _ = url.host, url.port
    except (ValueError, IndexError) as error:
        # yarl 1.25 looks for a bracket where there is nothing: x://[::1]@
        raise RefusedError(reasons.URL_SYNTAX, location=where) from error
    # Between brackets almost anything is taken for a host.
    is_broken = host is not None and ":" in host and parse_address(host) is None
    if is_broken or not url.scheme or (not host and url.scheme != "file"):
        raise RefusedError(reasons.URL_SYNTAX, location=where)
    if url.raw_user is not None or url.raw_password is not None or "@" in url.raw_authority:
        raise RefusedError(reasons.USER_IN_URL, location=where)
    return url


def origin_of(url: URL) -> tuple[str, str, int | None]:
    """Scheme, host and port: who gets what is sent there."""
    return url.scheme, host_of(url), url.port


def host_of(url: URL) -> str:
    """The host in its usual spelling."""
    return (url.host or "").rstrip(".").lower()


def is_signed(url: URL) -> bool:
    """Whether the URL itself is the right to read: others must not get what it gives."""
    return any(name.lower() in _SIGNATURES for name in url.query)


def matches(host: str, pattern: str) -> bool:
    """Whether a host is meant by ``*``, by ``*.example.org`` (all below it), or by its name."""
    pattern = pattern.rstrip(".").lower()
    if pattern == "*":
        return True
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return host == pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlRules:
    """What one site allows. ``file_roots`` are absolute directories."""

    schemes: frozenset[str]
    hosts: tuple[str, ...]
    private_addresses: bool = False
    file_roots: tuple[str, ...] = ()

    def check(self, text: str) -> URL:
        """The URL, if its scheme, its host and its address, where it names one, are allowed.

        Raises
        ------
        RefusedError
        """
        url = parse_url(text)
        if url.scheme not in self.schemes:
            raise RefusedError(reasons.SCHEME_REFUSED, scheme=url.scheme, location=shown(url))
        if url.scheme == "file":
            self.check_file(url)
        else:
            self.check_host(url)
        return url

    def check_hop(self, url: URL) -> None:
        """Where a redirect leads, which is never a file.

        Raises
        ------
        RefusedError
        """
        if url.scheme not in self.schemes & HTTP_SCHEMES:
            raise RefusedError(reasons.SCHEME_REFUSED, scheme=url.scheme, location=shown(url))
        self.check_host(url)

    def check_host(self, url: URL) -> None:
        """The host of a URL, without looking it up.

        Raises
        ------
        RefusedError
        """
        host = host_of(url)
        if not any(matches(host, pattern) for pattern in self.hosts):
            raise RefusedError(reasons.HOST_REFUSED, host=host, location=shown(url))
        if parse_address(host) is not None:
            self.check_address(host, host)
        elif not self.private_addresses and f".{host}".endswith(_LOCAL_NAMES):
            raise RefusedError(reasons.ADDRESS_REFUSED, host=host, address=host)

    def check_address(self, host: str, address: str) -> None:
        """An address that a host was found at.

        Raises
        ------
        RefusedError
        """
        found = parse_address(address)
        if found is None or not is_allowed(found, may_be_private=self.private_addresses):
            raise RefusedError(reasons.ADDRESS_REFUSED, host=host, address=address)

    def check_file(self, url: URL) -> str:
        """The path of a file URL, if it seems to lie in a root; links are not followed here.

        Raises
        ------
        RefusedError
        """
        path = unquote(url.raw_path, errors="surrogateescape")
        is_here = host_of(url) in {"", "localhost"} and not url.raw_query_string
        if is_here and path.startswith("/") and "\0" not in path:
            normal = posixpath.normpath(path)
            if any(is_below(normal, root) for root in self.file_roots):
                return normal
        raise RefusedError(reasons.FILE_REFUSED, location=shown(url))


def is_below(path: str, root: str) -> bool:
    """Whether a normal path lies in a directory, deeper than the directory itself."""
    return path.startswith(root.rstrip("/") + "/") and path.rstrip("/") != root.rstrip("/")
