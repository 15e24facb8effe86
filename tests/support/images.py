"""Images for tests, made without a registry: busybox and nothing else.

    busybox(engine)                      import it; the id (config digest)
    push(engine, name, registry)         give it to a registry; (location, digest of the manifest)
    remove(engine, location)             forget it here
    host_programs(engine)                import an image without programs, for those of this
                                         machine: mount HOST_DIRECTORIES at the same places

All names are below ``eb.test``, a host that does not exist, so that no pull can succeed.
"""

import base64
import http.client
import io
import json
import shutil
import subprocess
import sys
import tarfile
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests.support.engines import CALL_S, Engine

BUSYBOX: Final = "eb.test/busybox:1"
"""What :func:`busybox` is called unless told otherwise."""

HOST_PROGRAMS: Final = "eb.test/host:1"
"""What :func:`host_programs` is called unless told otherwise."""

HOST_DIRECTORIES: Final = tuple(
    place
    for place in ("/usr", "/lib", "/lib64", "/bin", sys.prefix, sys.base_prefix)
    if Path(place).is_dir()
)
"""What the programs of this machine, and this test's own Python, need of its files."""

MANIFESTS: Final = (
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.oci.image.manifest.v1+json"
)
"""The forms of a manifest that the engines push."""

DIRECTORIES: Final = {"bin": 0o755, "etc": 0o755, "root": 0o700, "tmp": 0o1777, "var": 0o755}


@cache
def root_files() -> bytes:
    """A tar file of a root directory: busybox, links of all its programs, root and nobody."""
    program = shutil.which("busybox")
    assert program is not None, "busybox-static is missing"
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, mode in DIRECTORIES.items():
            tar.addfile(_member(name, mode, tarfile.DIRTYPE))
        _add(tar, "bin/busybox", Path(program).read_bytes(), 0o755)
        _add(tar, "etc/passwd", b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
        _add(tar, "etc/group", b"root:x:0:\nnogroup:x:65534:\n")
        for name in names.split():
            if name != "busybox":
                link = _member(f"bin/{name}", 0o777, tarfile.SYMTYPE)
                link.linkname = "busybox"
                tar.addfile(link)
    return stream.getvalue()


def host_programs(engine: Engine, name: str = HOST_PROGRAMS) -> str:
    """Import an image with an account of root only, that finds this test's own Python; its id."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for folder, mode in DIRECTORIES.items():
            if folder != "bin":
                tar.addfile(_member(folder, mode, tarfile.DIRTYPE))
        _add(tar, "etc/passwd", b"root:x:0:0::/root:/bin/sh\n")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return busybox(engine, name, f"ENV PATH={path}", files=stream.getvalue())


def _member(name: str, mode: int, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode, member.type = mode, kind
    return member


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = _member(name, mode)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def busybox(engine: Engine, name: str = BUSYBOX, *changes: str, files: bytes | None = None) -> str:
    """Import an image under a name, with lines of a Dockerfile applied; its id, ``sha256:…``.

    Every import makes a new id. ``files`` is another tar file than :func:`root_files`.
    """
    query = "".join(f"&changes={quote(line)}" for line in ('CMD ["/bin/sh"]', *changes))
    headers = {"Content-Type": "application/x-tar"}
    target = f"/images/create?fromSrc=-{query}"
    status, answer = engine.call("POST", target, files or root_files(), headers)
    assert status == 200, answer
    made = json.loads(answer.splitlines()[-1])["status"]
    # Podman would name every import ``latest``.
    tag(engine, made, name)
    return image_id(engine, name)


def tag(engine: Engine, name: str, location: str) -> None:
    """Give an image another name."""
    repository, _, last = location.rpartition(":")
    engine.request("POST", f"/images/{name}/tag", repo=repository, tag=last)


def image_id(engine: Engine, name: str) -> str:
    """The id of an image of this engine, ``sha256:…``: the digest of its configuration."""
    found: str = engine.request("GET", f"/images/{name}/json")["Id"]
    return found if found.startswith("sha256:") else f"sha256:{found}"


def push(engine: Engine, name: str, registry: str, path: str) -> tuple[str, str]:
    """Give an image to a registry below a path with tag; its location there and its digest."""
    location = f"{registry}/{path}"
    tag(engine, name, location)
    repository, _, last = location.rpartition(":")
    secret = base64.urlsafe_b64encode(b"{}").decode()
    status, answer = engine.call(
        "POST",
        f"/images/{repository}/push",
        None,
        {"X-Registry-Auth": secret},
        tag=last,
        tlsVerify="false",
    )
    assert status == 200, answer
    # Only the registry itself says it the same way whatever pushed.
    host, _, name_there = repository.partition("/")
    connection = http.client.HTTPConnection(host, timeout=CALL_S)
    try:
        connection.request(
            "HEAD", f"/v2/{name_there}/manifests/{last}", headers={"Accept": MANIFESTS}
        )
        response = connection.getresponse()
        digest = response.headers["Docker-Content-Digest"]
    finally:
        connection.close()
    assert digest, (response.status, answer)
    return location, digest


def remove(engine: Engine, name: str) -> None:
    """Forget an image; one that is not there is forgotten already."""
    status, answer = engine.call("DELETE", f"/images/{name}", force="true")
    assert status in {200, 404}, answer
