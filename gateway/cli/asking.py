"""Asking for offers, and going on with what comes: an explanation, an acceptance, the outcome."""

import argparse
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any
from uuid import UUID

from gateway.cli import render
from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.errors import BrokerError, BrokerProblemError, UpdateRefusedError
from gateway.cli.explaining import show_explanation
from gateway.cli.output import OK, REFUSED, Output
from gateway.cli.output_commands import follow_to_end
from gateway.cli.overload import when_there_is_room
from gateway.cli.ranking_summary import summarise_explanation
from gateway.cli.requests import load_request
from gateway.cli.summary import items, summarise_offers
from gateway.wire.documents import Document


async def submit(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Asks for offers; with ``--accept-best`` takes the first that can be had."""
    document = load_request(arguments.request)
    ask = partial(client.request_offers, document, **_how(arguments))
    offerset = await when_there_is_room(ask, output)
    return await go_on(client, offerset, arguments, output)


async def submit_draft(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Asks for offers with a draft, and goes on as ``submit`` does."""
    ask = partial(client.submit_draft, arguments.uuid, **_how(arguments))
    offerset = await when_there_is_room(ask, output)
    return await go_on(client, offerset, arguments, output)


def _how(arguments: argparse.Namespace) -> dict[str, Any]:
    """How to ask, as the client takes it."""
    return {
        "limit": arguments.limit,
        "per_node": arguments.per_node,
        "policy": arguments.policy,
        "nodes": arguments.nodes,
        "min_offers": arguments.min_offers,
        "require": arguments.require,
        "wait_s": arguments.wait,
        "idempotency_key": arguments.idempotency_key,
    }


async def go_on(
    client: ExecutionBrokerClient,
    offerset: Document,
    arguments: argparse.Namespace,
    output: Output,
) -> int:
    """Shows the offers and does with them what the arguments say."""
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
