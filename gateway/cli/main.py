"""``execbroker``: ask a broker for offers, take one, follow it."""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, NoReturn, TextIO
from uuid import UUID

from gateway.cli import render
from gateway.cli.arguments import DEFAULT_PASSWORD_ENV, DEFAULT_URL, parser
from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.errors import (
    BrokerError,
    BrokerProblemError,
    BrokerUnavailableError,
    UnreadableAnswerError,
    UpdateRefusedError,
    WatchDeadlineError,
)
from gateway.cli.explaining import show_explanation
from gateway.cli.output import INTERRUPTED, OK, REFUSED, UNAVAILABLE, USAGE, Output
from gateway.cli.output_commands import SaveError, fetch, follow_to_end, logs, results
from gateway.cli.progress import PhaseProgress
from gateway.cli.ranking_commands import explain, replay
from gateway.cli.ranking_summary import summarise_explanation
from gateway.cli.requests import RequestFileError, load_request
from gateway.cli.summary import items, summarise_offers, text_of_reason
from gateway.wire.documents import Document
from gateway.wire.phases import SessionPhase


class UsageError(Exception):
    """The command cannot be carried out as it was given."""


Command = Callable[[ExecutionBrokerClient, argparse.Namespace, Output], Awaitable[int]]


async def submit(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Asks for offers; with ``--accept-best`` takes the first that can be had."""
    document = load_request(arguments.request)
    offerset = await client.request_offers(
        document,
        limit=arguments.limit,
        per_node=arguments.per_node,
        policy=arguments.policy,
        nodes=arguments.nodes,
        min_offers=arguments.min_offers,
        require=arguments.require,
        wait_s=arguments.wait,
        idempotency_key=arguments.idempotency_key,
    )
    if not output.is_json:
        render.show_offerset(output.tables, offerset, datetime.now(UTC))
    is_offered = offerset.get("result") == "YES" and bool(items(offerset, "offers"))
    is_taken = arguments.accept_best or arguments.follow
    session = None
    if is_offered and is_taken:
        session = await _accept_best(client, offerset, output)
    explanation = await _explanation(client, offerset, output) if arguments.explain else None
    if output.is_json:
        more = {"explanation": explanation, "session": session}
        given = {name: document for name, document in more.items() if document is not None}
        output.result({"offerset": offerset, **given} if given else offerset)
    else:
        if explanation is not None:
            show_explanation(output.tables, summarise_explanation(explanation))
        if session is not None:
            render.show_session(output.tables, session, datetime.now(UTC))
    if session is not None and arguments.follow:
        return await follow_to_end(client, UUID(session["meta"]["uuid"]), output)
    return OK if is_offered and (session is not None or not is_taken) else REFUSED


async def _explanation(
    client: ExecutionBrokerClient, offerset: Document, output: Output
) -> Document | None:
    """Why the offers are as they are; the offers are good without it, too."""
    try:
        return await client.explanation(UUID(offerset["meta"]["uuid"]))
    except BrokerProblemError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            output.remark(f"{client.url} explains nothing: it is a node broker, not a gateway.")
        else:
            output.remark(f"There is no explanation: {error}")
    except BrokerError as error:
        output.remark(f"There is no explanation: {error}")
    return None


async def _accept_best(
    client: ExecutionBrokerClient, offerset: Document, output: Output
) -> Document | None:
    """The first session that its node lets us have, in the order of rank."""
    for offer in summarise_offers(offerset):
        try:
            return await client.accept(UUID(offer.uuid))
        except UpdateRefusedError as error:
            output.remark(f"{offer.uuid}: {error}")
        except BrokerProblemError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            output.remark(f"{offer.uuid}: {error}")
    return None


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
}


def client_of(arguments: argparse.Namespace, environ: Mapping[str, str]) -> ExecutionBrokerClient:
    """The client that arguments and environment describe.

    Raises
    ------
    UsageError
        The URL cannot be used, or the password is missing.
    """
    username = arguments.username or environ.get("EXECBROKER_USERNAME") or None
    variable = arguments.password_env or DEFAULT_PASSWORD_ENV
    password = environ.get(variable)
    if username is not None and password is None:
        raise UsageError(f"the environment variable {variable} with the password is not set")
    try:
        return ExecutionBrokerClient(
            arguments.url or environ.get("EXECBROKER_URL") or DEFAULT_URL, username, password
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


async def run(
    arguments: argparse.Namespace, out: TextIO, err: TextIO, environ: Mapping[str, str]
) -> int:
    """Carries out one command and tells how it went by its exit code."""
    output = Output(out, err, is_json=arguments.json)
    try:
        async with client_of(arguments, environ) as client:
            return await _COMMANDS[arguments.command](client, arguments, output)
    except (UsageError, RequestFileError) as error:
        output.remark(f"execbroker: {error}")
        return USAGE
    except SaveError as error:
        output.remark(f"execbroker: {error}")
        return REFUSED
    except BrokerError as error:
        return _failed(error, output, environ)


def _failed(error: BrokerError, output: Output, environ: Mapping[str, str]) -> int:
    output.remark(f"execbroker: {error}")
    match error:
        case BrokerUnavailableError() | UnreadableAnswerError():
            return UNAVAILABLE
        case BrokerProblemError():
            _explain(error, output, environ)
            return UNAVAILABLE if error.status == HTTPStatus.SERVICE_UNAVAILABLE else REFUSED
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
    if error.status == HTTPStatus.UNAUTHORIZED and not environ.get("EXECBROKER_USERNAME"):
        output.remark("  Set EXECBROKER_USERNAME and EXECBROKER_PASSWORD to an account there.")


def main(argv: Sequence[str] | None = None) -> int:
    """The program. Returns its exit code."""
    arguments = parser().parse_args(argv)
    try:
        return asyncio.run(run(arguments, sys.stdout, sys.stderr, os.environ))
    except KeyboardInterrupt:
        return INTERRUPTED


def _exit() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    _exit()
