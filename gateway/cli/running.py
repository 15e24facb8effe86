"""What the commands of ``execbroker`` do, and how it went."""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, TextIO

from gateway.cli import admin_commands, render
from gateway.cli.arguments import DEFAULT_PASSWORD_ENV, DEFAULT_URL
from gateway.cli.asking import submit
from gateway.cli.audit_commands import audit
from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.discovery_commands import (
    discover_data,
    discover_kinds,
    discover_nodes,
    discover_software,
    estimate,
    publish,
)
from gateway.cli.draft_commands import DRAFT_COMMANDS
from gateway.cli.errors import (
    BrokerError,
    BrokerProblemError,
    BrokerUnavailableError,
    UnreadableAnswerError,
    UpdateRefusedError,
    WatchDeadlineError,
)
from gateway.cli.list_commands import LIST_COMMANDS
from gateway.cli.output import INTERRUPTED, OK, REFUSED, UNAVAILABLE, USAGE, Output
from gateway.cli.output_commands import SaveError, fetch, logs, results
from gateway.cli.progress import PhaseProgress
from gateway.cli.ranking_commands import explain, replay
from gateway.cli.requests import RequestFileError
from gateway.cli.summary import items, text_of_reason
from gateway.cli.tokens import DEFAULT_TOKEN_ENV, TokenSource, token_source
from gateway.wire.documents import Document
from gateway.wire.phases import SessionPhase


class UsageError(Exception):
    """The command cannot be carried out as it was given."""


Command = Callable[[ExecutionBrokerClient, argparse.Namespace, Output], Awaitable[int]]


async def accept(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Takes one offer."""
    return _show(await client.accept(arguments.uuid), output)


async def reject(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Lets one offer go."""
    return _show(await client.reject(arguments.uuid), output)


async def cancel(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Stops one session."""
    return _show(await client.cancel(arguments.uuid), output)


async def show(client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output) -> int:
    """Shows a session, an offer or an offer set, whichever the UUID is."""
    try:
        return _show(await client.session(arguments.uuid), output)
    except BrokerProblemError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
    offerset = await client.offerset(arguments.uuid)
    if output.is_json:
        output.result(offerset)
    else:
        render.show_offerset(output.tables, offerset, datetime.now(UTC))
    return OK


def _show(session: Document, output: Output) -> int:
    if output.is_json:
        output.result(session)
    else:
        render.show_session(output.tables, session, datetime.now(UTC))
    return OK


async def watch(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Follows a session to its end: a bar, or with ``--json`` a line for each new phase."""
    phase = None
    with PhaseProgress(output.tables) as progress:
        async for session in client.watch(arguments.uuid, deadline_s=arguments.timeout):
            if output.is_json and session.get("phase") != phase:
                output.result(session)
            elif not output.is_json:
                progress.show(session)
            phase = session.get("phase")
    return OK if phase == SessionPhase.COMPLETED else REFUSED


async def nodes(
    client: ExecutionBrokerClient,
    arguments: argparse.Namespace,  # noqa: ARG001 - every command is called alike
    output: Output,
) -> int:
    """Lists the nodes of a gateway."""
    try:
        listed = await client.nodes()
    except BrokerProblemError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        output.remark(f"{client.url} has no list of nodes: it is a node broker, not a gateway.")
        return REFUSED
    if output.is_json:
        output.result({"nodes": listed})
    else:
        output.tables.print(render.nodes_table(listed, datetime.now(UTC)))
    return OK


_NOT_NOW: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_COMMANDS: Final[Mapping[str, Command]] = {
    "submit": submit,
    "accept": accept,
    "reject": reject,
    "cancel": cancel,
    "show": show,
    "watch": watch,
    "logs": logs,
    "results": results,
    "fetch": fetch,
    "nodes": nodes,
    "explain": explain,
    "replay": replay,
    "discover kinds": discover_kinds,
    "discover nodes": discover_nodes,
    "discover data": discover_data,
    "discover software": discover_software,
    "estimate": estimate,
    "publish": publish,
    **DRAFT_COMMANDS,
    **LIST_COMMANDS,
    "admin audit": audit,
    "admin token": admin_commands.token,
    "admin nodes": admin_commands.nodes,
    "admin drain": admin_commands.drain,
    "admin resume": admin_commands.resume,
    "admin remove": admin_commands.remove,
}


def client_of(arguments: argparse.Namespace, environ: Mapping[str, str]) -> ExecutionBrokerClient:
    """The client that arguments and environment describe.

    Raises
    ------
    UsageError
        The URL cannot be used, or the password or the token is missing.
    """
    url = arguments.url or environ.get("EXECBROKER_URL") or DEFAULT_URL
    try:
        token = token_of(arguments, environ)
        if token is not None:
            return ExecutionBrokerClient(url, token=token)
        username = arguments.username or environ.get("EXECBROKER_USERNAME") or None
        variable = arguments.password_env or DEFAULT_PASSWORD_ENV
        password = environ.get(variable)
        if username is not None and password is None:
            raise UsageError(f"the environment variable {variable} with the password is not set")
        return ExecutionBrokerClient(url, username, password)
    except ValueError as error:
        raise UsageError(str(error)) from error


def token_of(arguments: argparse.Namespace, environ: Mapping[str, str]) -> TokenSource | None:
    """The token to call with; None for an account, if only because an argument names one.

    Raises
    ------
    UsageError
        The arguments name both.
    TokenError
        There is no token where they say.
    """
    is_named = arguments.token_env is not None or arguments.token_file is not None
    if arguments.username is None:
        return token_source(arguments.token_env, arguments.token_file, environ)
    if is_named:
        raise UsageError("--username is for an account, and the other arguments name a token")
    return None


async def run(
    arguments: argparse.Namespace, out: TextIO, err: TextIO, environ: Mapping[str, str]
) -> int:
    """Carries out one command and tells how it went by its exit code."""
    output = Output(out, err, is_json=arguments.json)
    try:
        async with client_of(arguments, environ) as client:
            return await _COMMANDS[_name_of(arguments)](client, arguments, output)
    except (UsageError, RequestFileError) as error:
        output.remark(f"execbroker: {error}")
        return USAGE
    except SaveError as error:
        output.remark(f"execbroker: {error}")
        return REFUSED
    except BrokerError as error:
        return _failed(error, output, environ)


def _name_of(arguments: argparse.Namespace) -> str:
    """The command, with the one below it where it is a group of them."""
    below = getattr(arguments, f"{arguments.command}_command", None)
    return str(arguments.command) if below is None else f"{arguments.command} {below}"


def _failed(error: BrokerError, output: Output, environ: Mapping[str, str]) -> int:
    output.remark(f"execbroker: {error}")
    match error:
        case BrokerUnavailableError() | UnreadableAnswerError():
            return UNAVAILABLE
        case BrokerProblemError():
            _explain(error, output, environ)
            return UNAVAILABLE if error.status in _NOT_NOW else REFUSED
        case UpdateRefusedError():
            if output.is_json:
                output.result(error.session)
            return REFUSED
        case WatchDeadlineError():
            return REFUSED
        case _:
            return REFUSED


def _explain(error: BrokerProblemError, output: Output, environ: Mapping[str, str]) -> None:
    """What a problem holds beside its text, and what to do about it."""
    if output.is_json and error.problem:
        output.result(error.problem)
    for fault in items(error.problem, "errors"):
        output.remark(f"  {fault.get('pointer') or '(the whole)'}: {fault.get('detail')}")
    for entry in items(error.problem, "coverage"):
        why = text_of_reason(entry.get("reason"))
        output.remark(f"  {entry.get('node')}: {entry.get('outcome')} {why}".rstrip())
    is_unnamed = not any(environ.get(name) for name in ("EXECBROKER_USERNAME", DEFAULT_TOKEN_ENV))
    if error.status == HTTPStatus.UNAUTHORIZED and is_unnamed:
        output.remark(
            "  Set EXECBROKER_USERNAME and EXECBROKER_PASSWORD to an account there, or "
            "EXECBROKER_TOKEN to a token that holds."
        )


def carry_out(arguments: argparse.Namespace) -> int:
    """One command of the program itself, to its exit code."""
    try:
        return asyncio.run(run(arguments, sys.stdout, sys.stderr, os.environ))
    except KeyboardInterrupt:
        return INTERRUPTED
