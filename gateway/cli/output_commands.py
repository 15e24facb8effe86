"""The commands about what came out of a session: its logs, the list of results, its files."""

import argparse
import asyncio
import codecs
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from gateway.cli import render
from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.errors import BrokerProblemError, UnknownFileError
from gateway.cli.output import OK, REFUSED, Output
from gateway.cli.summary import FileSummary, summarise_results
from gateway.cli.transfers import safe_target, sha256_of
from gateway.wire.outputs import STDERR, STDOUT
from gateway.wire.phases import SessionPhase


class SaveError(Exception):
    """A file cannot be saved here."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"{path} cannot be saved: {error.strerror or error}")


async def logs(client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output) -> int:
    """Shows what a session writes, with ``--follow`` until it has ended."""
    stream = STDERR if arguments.stderr else STDOUT
    await _show_log(client, arguments.uuid, stream, output, follow=arguments.follow)
    return OK


async def results(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Shows how a session ended, and lists what came out."""
    document = await client.results(arguments.uuid)
    if output.is_json:
        output.result(document)
    else:
        render.show_results(output.tables, document)
    return OK


async def fetch(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Saves files that came out; what is there already, and right, is not fetched again."""
    document = await client.results(arguments.uuid)
    chosen = chosen_files(summarise_results(document).files, arguments.paths)
    saved: list[dict[str, object]] = []
    for file in chosen:
        target, is_new = await _save(client, arguments.uuid, file, arguments.output)
        saved.append({"path": file.path, "target": str(target), "is_new": is_new})
        if not output.is_json:
            how = render.human_bytes(file.size) if is_new else "there already"
            output.tables.print(render.safe(f"  {target}  {how}"), soft_wrap=True)
    if output.is_json:
        output.result({"files": saved})
    elif not chosen:
        output.remark("No files came out, or none yet.")
    return OK


async def follow_to_end(client: ExecutionBrokerClient, uuid: UUID, output: Output) -> int:
    """Shows what a session writes, then how it ended."""
    await _show_log(client, uuid, STDOUT, output, follow=True)
    phase = None
    async for session in client.watch(uuid):
        phase = session.get("phase")
    try:
        document = await client.results(uuid)
    except BrokerProblemError as error:
        output.remark(f"{phase}: {error}")
    else:
        if output.is_json:
            output.result(document)
        else:
            render.show_results(output.tables, document)
    return OK if phase == SessionPhase.COMPLETED else REFUSED


def chosen_files(files: Sequence[FileSummary], paths: Sequence[str]) -> list[FileSummary]:
    """The files of these paths, or below them; without paths all.

    Raises
    ------
    UnknownFileError
        There is nothing of a path.
    """
    if not paths:
        return [*files]
    found: dict[str, FileSummary] = {}
    for path in paths:
        name = path.rstrip("/")
        below = [f for f in files if f.path == name or f.path.startswith(f"{name}/")]
        if not below:
            raise UnknownFileError(path)
        found |= {file.path: file for file in below}
    return [*found.values()]


async def _save(
    client: ExecutionBrokerClient, uuid: UUID, file: FileSummary, directory: Path
) -> tuple[Path, bool]:
    """Where a file is now, and whether it had to be fetched."""
    try:
        target = await asyncio.to_thread(safe_target, directory, file.path)
        if file.sha256 and await asyncio.to_thread(sha256_of, target) == file.sha256:
            return target, False
        await client.fetch(uuid, file.path, target, sha256=file.sha256 or None)
    except OSError as error:
        raise SaveError(directory / file.path, error) from error
    return target, True


async def _show_log(
    client: ExecutionBrokerClient, uuid: UUID, stream: str, output: Output, *, follow: bool
) -> None:
    # A piece may end within a character.
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async for piece in client.logs(uuid, stream, follow=follow):
        output.log(decoder.decode(piece))
    if rest := decoder.decode(b"", final=True):
        output.log(rest)
