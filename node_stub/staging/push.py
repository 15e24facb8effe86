"""Sends what came out to where the request wants it."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from aiohttp.abc import AbstractResolver

from gateway.wire.documents import Document
from node_stub.platforms.runner import Workspace
from node_stub.staging.allowlist import shown
from node_stub.staging.client import GuardedClient
from node_stub.staging.credentials import Keyring
from node_stub.staging.destinations import (
    MAX_S3_PUT_BYTES,
    Destination,
    check_destination,
    read_destination,
)
from node_stub.staging.errors import RefusedError, SourceError, StagingError, TransientError
from node_stub.staging.layout import places, storage_folder, uuid_of
from node_stub.staging.local_files import open_beneath
from node_stub.staging.outgoing import OutgoingFile, outgoing_files
from node_stub.staging.reading import components
from node_stub.staging.repeating import repeated
from node_stub.staging.settings import StagingSettings
from node_stub.staging.stager import client_limits
from node_stub.staging.threads import settled

READ_BYTES: Final = 1 << 20
"""How much of a file is in memory at once."""


@dataclass(frozen=True, slots=True)
class PushedFile:
    """One file: its path below its storage, size in bytes, and where it went.

    ``error`` None: it arrived. ``sha256`` None: it was not read as a whole.
    """

    storage: UUID
    path: str
    url: str
    size: int = 0
    sha256: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PushReport:
    """What became of each file that was to be sent."""

    files: tuple[PushedFile, ...] = ()


class PushError(StagingError):
    """Results did not all arrive where they should go; the report has every file."""

    def __init__(self, report: PushReport, text: str) -> None:
        super().__init__(text)
        self.report = report


class Pusher:
    """Sends results. `open` and `close` it. ``resolver`` None is the usual one."""

    def __init__(self, settings: StagingSettings, resolver: AbstractResolver | None = None) -> None:
        self._settings = settings
        self._rules = settings.push.rules()
        self._keyring = Keyring(settings.s3_credentials)
        self._client = GuardedClient(self._rules, client_limits(settings), resolver)

    async def open(self) -> None:
        """Get ready to connect."""
        await self._client.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    async def push(self, document: Document, workspace: Workspace) -> PushReport:
        """Send the files of every storage resource that has a location. It may be repeated.

        The job has ended. What was staged into the storage is not sent back, and neither are links
        and whatever else is no regular file.

        Raises
        ------
        PushError
            Something did not arrive, or must not be sent there.
        """
        staged = {place.folder for place in places(document, workspace).values()}
        done: list[PushedFile] = []
        for storage in components(document, "storage"):
            destination = read_destination(storage)
            if destination is None:
                continue
            folder = storage_folder(workspace, uuid_of(storage))
            try:
                check_destination(destination, self._rules, self._keyring)
                most = self._settings.push.max_files
                files = await settled(outgoing_files, folder, staged, most)
            except StagingError as error:
                done.append(
                    PushedFile(uuid_of(storage), "", shown(destination.url), error=str(error))
                )
            else:
                done += await self._send_all(uuid_of(storage), folder, destination, files)
        report = PushReport(tuple(done))
        failed = [file for file in done if file.error is not None]
        if failed:
            first = failed[0]
            text = f"{first.url}: {first.error}"
            raise PushError(
                report, text if len(failed) == 1 else f"{text}; and {len(failed) - 1} more"
            )
        return report

    async def _send_all(
        self, storage: UUID, folder: Path, destination: Destination, files: list[OutgoingFile]
    ) -> list[PushedFile]:
        turns = asyncio.Semaphore(self._settings.push.parallel)

        async def send(file: OutgoingFile) -> PushedFile:
            async with turns:
                return await self._send(storage, folder, destination, file)

        async with asyncio.TaskGroup() as tasks:
            sent = [tasks.create_task(send(file), name="push_file") for file in files]
        return [task.result() for task in sent]

    async def _send(
        self, storage: UUID, folder: Path, destination: Destination, file: OutgoingFile
    ) -> PushedFile:
        path = file.relative.decode(errors="replace")
        where = shown(destination.url_of(file.relative))
        try:
            async with asyncio.timeout(self._settings.push.file_timeout_s):
                descriptor = await settled(open_beneath, str(folder), file.parts)
                try:
                    size = os.fstat(descriptor).st_size
                    sha256 = await settled(_sha256, descriptor, size)
                    await self._put(destination, file, descriptor, size, sha256)
                finally:
                    os.close(descriptor)
        except TimeoutError:
            error = f"not within {self._settings.push.file_timeout_s:g} s"
        except OSError as failed:
            error = f"cannot be read: {failed.strerror}"
        except (RefusedError, SourceError, TransientError) as failed:
            error = str(failed)
        else:
            return PushedFile(storage, path, where, size, sha256)
        return PushedFile(storage, path, where, file.size, error=error)

    async def _put(
        self,
        destination: Destination,
        file: OutgoingFile,
        descriptor: int,
        size: int,
        sha256: str,
    ) -> None:
        if destination.is_s3 and size > MAX_S3_PUT_BYTES:
            raise SourceError(f"larger than S3 takes in one piece [{MAX_S3_PUT_BYTES} bytes]")
        url = self._rules.check(destination.url_of(file.relative))
        signer = self._keyring.signer(destination.credentials, url, sha256)
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}

        async def put() -> None:
            sending = self._client.request(
                "PUT", url, headers, signer=signer, body=lambda: _chunks(descriptor, size)
            )
            async with sending as response:
                _check_stored(response.status)

        await repeated(put, self._settings)


def _check_stored(status: int) -> None:
    if status in {200, 201, 204}:
        return
    if status in {408, 425, 429} or status >= 500:
        raise TransientError(f"HTTP {status}")
    raise SourceError(f"HTTP {status}")


async def _chunks(descriptor: int, size: int) -> AsyncIterator[bytes]:
    offset = 0
    while offset < size:
        data = await settled(os.pread, descriptor, min(READ_BYTES, size - offset), offset)
        if not data:
            raise ConnectionError("the file has become shorter")
        offset += len(data)
        yield data


def _sha256(descriptor: int, size: int) -> str:
    digest = hashlib.sha256()
    offset = 0
    while offset < size and (data := os.pread(descriptor, READ_BYTES, offset)):
        digest.update(data)
        offset += len(data)
    return digest.hexdigest()
