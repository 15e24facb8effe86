"""Names of data and of images from clients: never another place than the one that was checked."""

import posixpath
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote

from gateway.clients.lakes.errors import LakeRequestError
from gateway.clients.lakes.paths import did_path
from gateway.services.locating_resources import did_in_ivoid, host_of, pointer_of
from gateway.wire.addresses import is_allowed, parse_address
from gateway.wire.kinds import IVOA_DATA, RUCIO_DATA, S3_DATA, SIMPLE_DATA, SKAO_DATA
from node_stub.checks.data import namespace_of
from node_stub.platforms.docker import references
from node_stub.staging.allowlist import UrlRules, parse_url
from node_stub.staging.errors import RefusedError

_RULES: Final = UrlRules(
    schemes=frozenset({"http", "https", "file"}), hosts=("*",), file_roots=("/srv/data",)
)


def run(data: bytes) -> None:
    """The bytes as text in every member that names data; a line end parts scope from name."""
    text = data.decode("utf-8", "replace")
    first, _, second = text.partition("\n")
    _check_pointers(first, second)
    _check_url(text)
    namespace_of(text)
    found = references.parse(text)
    assert found is None or text.startswith(found.name)


def _check_pointers(first: str, second: str) -> None:
    host_of(first)
    did_in_ivoid(first)
    for resource in (
        {"kind": SIMPLE_DATA, "location": first},
        {"kind": IVOA_DATA, "ivoa": {"ivoid": first}},
        {"kind": S3_DATA, "endpoint": first, "bucket": second, "template": second},
        {"kind": RUCIO_DATA, "rucio": {"scope": first, "object": second, "endpoint": second}},
        {"kind": SKAO_DATA, "skao": {"namespace": first, "objectname": second}},
    ):
        pointer = pointer_of(resource)
        assert pointer.did is None or pointer.host is None
        assert pointer.did or pointer.host or pointer.why
        if pointer.did is None:
            continue
        try:
            path = did_path(pointer.did)
        except LakeRequestError:
            continue
        assert path.isascii()
        assert not set(path) & set("?#\\ \r\n")
        assert posixpath.normpath(path) == path
        assert unquote(path) == f"{pointer.did.scope}/{pointer.did.name}"


def _check_url(text: str) -> None:
    try:
        url = _RULES.check(text)
    except RefusedError:
        return
    again = parse_url(str(url))
    assert (again.scheme, again.host, again.port) == (url.scheme, url.host, url.port)
    if url.scheme == "file":
        path = unquote(url.raw_path, errors="surrogateescape")
        assert posixpath.normpath(path).startswith("/srv/data/")
    elif (address := parse_address(url.host or "")) is not None:
        assert is_allowed(address, may_be_private=False)
        assert ip_address(address).is_global


def seeds() -> Iterator[bytes]:
    """Usual and unusual ones."""
    for text in (
        *("ivo://skao.int/data?testing:a/b.fits", "ivo://skao.int/data?a%2f..%2fb", "scope\na/b"),
        *("https://data.example.org:8443/a%20b?x=1#y", "http://[2001:db8::1]/", "s3://bucket/a"),
        *("http://user:pw@example.org/", "file:///srv/data/../data/a", "vos://cadc.nrc.ca~vault/x"),
        *("docker.io/library/a:1@sha256:" + "6e" * 32, "registry:5000/a_b/c-d", "[::1]:80/a"),
        *("http://8.8.8.8/", "http://bücher.example/ä", "HTTP://EXAMPLE.org./", "cvmfs:/a"),
    ):
        yield text.encode()
