"""Where the bytes of one file come from: a URL or a file of this machine, from any place on."""

import hashlib
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import aiohttp
from yarl import URL

from node_stub.staging.allowlist import host_of, shown
from node_stub.staging.client import GuardedClient, Signer, translated
from node_stub.staging.errors import ChangedError, SourceError, TransientError
from node_stub.staging.local_files import open_below
from node_stub.staging.threads import settled

READ_BYTES: Final = 1 << 20
"""How much of a local file is read at once."""

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII)
_TRANSIENT: Final = frozenset({408, 425, 429})
_PACKED: Final = (".gz", ".tgz", ".fz", ".z")


@dataclass(frozen=True, slots=True)
class Opening:
    """A source that gives bytes: from where on, of how many in all, and which version of them."""

    offset: int
    total: int | None
    validator: str | None
    chunks: AsyncGenerator[bytes, None]


class Source(Protocol):
    """Gives the bytes of one file."""

    @property
    def shown(self) -> str:
        """What people may be told of it."""
        ...

    @property
    def key(self) -> str:
        """Stands for it without showing it."""
        ...

    @property
    def host(self) -> str:
        """Whose speed is measured; empty for this machine."""
        ...

    def open(self, offset: int, validator: str | None) -> AbstractAsyncContextManager[Opening]:
        """Begin at ``offset``, or at 0 if that is no longer the version of ``validator``.

        Raises
        ------
        RefusedError, SourceError, TransientError
            ``ChangedError`` says that it must be begun from the beginning. Reading the chunks
            raises them too.
        """
        ...


class HttpSource:
    """A URL that has been checked."""

    def __init__(
        self, client: GuardedClient, url: URL, name: str, signer: Signer | None = None
    ) -> None:
        self._client = client
        self._url = url
        self._is_packed = name.lower().endswith(_PACKED)
        self._signer = signer
        self.shown: Final = shown(url)
        self.key: Final = hashlib.sha256(str(url).encode()).hexdigest()
        self.host: Final = host_of(url)

    @asynccontextmanager
    async def open(self, offset: int, validator: str | None) -> AsyncIterator[Opening]:
        """As `Source.open`: by a range request, which the server may ignore."""
        headers: dict[str, str] = {}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if validator is not None:
                headers["If-Range"] = validator
        asking = self._client.request("GET", self._url, headers, signer=self._signer)
        async with asking as response:
            start, total = self._placed(response, offset)
            version = _validator(response.headers)
            if start and validator is not None and version not in {None, validator}:
                raise ChangedError("it has changed since it was begun")
            yield Opening(start, total, version, self._chunks(response))

    def _placed(self, response: aiohttp.ClientResponse, offset: int) -> tuple[int, int | None]:
        """Where the body begins, and how large the whole is."""
        check_status(response)
        coding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in {"", "identity"} and not self._is_packed:
            # Never unpacked: a few kilobytes can become any size. A packed file is left as it is.
            raise SourceError(f"the answer is packed with {coding[:20]}, which was not asked for")
        if response.status == 200:
            return 0, response.content_length
        if not offset:
            raise SourceError("the answer is a part, and the whole was asked for")
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        if found is None or int(found[1]) != offset:
            raise ChangedError("the answer is another part than was asked for")
        last, total = int(found[2]), None if found[3] == "*" else int(found[3])
        if last < offset or (total is not None and last >= total):
            raise ChangedError("the answer is a part that cannot be")
        return offset, total

    async def _chunks(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        with translated(self._url):
            async for chunk in response.content.iter_any():
                yield chunk


def check_status(response: aiohttp.ClientResponse) -> None:
    """Only what gives data passes.

    Raises
    ------
    ChangedError, TransientError, SourceError
    """
    status = response.status
    if status in {200, 206}:
        return
    if status == 416:
        raise ChangedError("there is no such part of it any more")
    if status in _TRANSIENT or status >= 500:
        asked = response.headers.get("Retry-After", "")
        wait_s = float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 0.0
        raise TransientError(f"HTTP {status}", wait_s)
    raise SourceError(f"HTTP {status}")


def _validator(headers: Mapping[str, str]) -> str | None:
    """What names this version byte by byte: a strong entity tag, else when it was changed.

    Source: RFC 9110, section 13.1.5.
    """
    tag = headers.get("ETag", "")
    if tag.startswith('"') and tag.endswith('"') and len(tag) > 2:
        return tag
    return headers.get("Last-Modified") or None


class FileSource:
    """A file below the roots that the site offers; links that lead out of them are refused."""

    def __init__(self, path: str, roots: Sequence[str]) -> None:
        self._path = path
        self._roots = roots
        self.shown: Final = f"file://{path.encode(errors='replace').decode()}"
        self.key: Final = hashlib.sha256(os.fsencode(path)).hexdigest()
        self.host: Final = ""

    @asynccontextmanager
    async def open(self, offset: int, validator: str | None) -> AsyncIterator[Opening]:
        """As `Source.open`."""
        file = await settled(open_below, self._path, self._roots)
        try:
            status = os.fstat(file)
            version = f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"
            is_other = (validator is not None and validator != version) or offset > status.st_size
            start = 0 if is_other else offset
            yield Opening(start, status.st_size, version, self._chunks(file, start))
        finally:
            os.close(file)

    async def _chunks(self, file: int, offset: int) -> AsyncGenerator[bytes, None]:
        while data := await settled(self._read, file, offset):
            offset += len(data)
            yield data

    @staticmethod
    def _read(file: int, offset: int) -> bytes:
        try:
            return os.pread(file, READ_BYTES, offset)
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}") from error
