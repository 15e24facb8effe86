"""What a node keeps of its memberships: one private file for each gateway's credential."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import structlog

from gateway.httpkit.membership.challenge import Challenge
from gateway.httpkit.membership.keeping import KeepingError
from gateway.wire.documents import to_json
from gateway.wire.secret import Secret
from node_stub.durable import write_whole

_log = structlog.get_logger(__name__)


class _Kept(msgspec.Struct, frozen=True):
    gateway: str
    credential: str


class MembershipFiles:
    """Credentials in files, mode 0600, in a folder of their own; the challenge in memory.

    A node is one process: its store lets no second one work on the same data.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turn = asyncio.Lock()
        self._open: Challenge | None = None

    async def credential(self, gateway: str) -> Secret | None:
        """What the gateway of this URL gave us; a file that cannot be understood is nothing."""
        path = self._path(gateway)
        try:
            content = await asyncio.to_thread(path.read_bytes)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise KeepingError(f"{path} cannot be read: {error.strerror}") from error
        try:
            kept = msgspec.json.decode(content, type=_Kept)
        except msgspec.DecodeError as error:
            _log.warning("credential_file_unreadable", file=str(path), reason=str(error))
            return None
        return Secret(kept.credential)

    async def keep(self, gateway: str, credential: Secret) -> None:
        """Keep what it gave us; the file is replaced as a whole."""
        path = self._path(gateway)
        content = to_json(_Kept(gateway, credential.reveal()))
        try:
            await asyncio.to_thread(_write, path, content)
        except OSError as error:
            raise KeepingError(f"{path} cannot be written: {error.strerror}") from error

    @asynccontextmanager
    async def registering(self, url: str) -> AsyncIterator[Challenge]:
        """Our turn; each takes as long as one call to a gateway at most."""
        async with self._turn:
            self._open = Challenge.of(url)
            try:
                yield self._open
            finally:
                self._open = None

    async def open_challenge(self) -> Challenge | None:
        """That of the registration under way, if one is."""
        return self._open

    async def stay(self, for_s: float) -> None:
        """There is no other process that would have to know."""

    async def is_last(self) -> bool:
        """A node is one process."""
        return True

    def _path(self, gateway: str) -> Path:
        return self._folder / f"{hashlib.sha256(gateway.encode()).hexdigest()[:16]}.json"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, content)
