"""``execbroker admin audit``: who did what."""

import argparse
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from rich.table import Table

from gateway.cli import render
from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.errors import BrokerProblemError
from gateway.cli.output import OK, REFUSED, Output
from gateway.cli.summary import items
from gateway.wire.documents import Document

PAGE: Final = 1000
"""Entries fetched with one call: as many as a gateway gives."""

FILTERS: Final = ("who", "what", "object", "since", "until")
"""Options that are handed to the gateway as they are."""

_COLUMNS: Final = ("at", "who", "what", "object", "status", "reason", "origin")


async def audit(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Shows who did what, newest first."""
    given = {name: getattr(arguments, name) for name in FILTERS}
    filters = {name: text for name, text in given.items() if text is not None}
    try:
        entries = await _fetched(client, filters, arguments.limit)
    except BrokerProblemError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        output.remark(f"{client.url} keeps no audit trail: it is a node broker, not a gateway.")
        return REFUSED
    if output.is_json:
        output.result({"entries": entries})
    else:
        output.tables.print(_table(entries))
    return OK


async def _fetched(
    client: ExecutionBrokerClient, filters: dict[str, str], limit: int
) -> list[Document]:
    entries: list[Document] = []
    query = dict(filters)
    while len(entries) < limit:
        page = await client.audit({**query, "limit": str(min(PAGE, limit - len(entries)))})
        entries += items(page, "entries")
        if page.get("next") is None:
            break
        query["cursor"] = str(page["next"])
    return entries


def _table(entries: Sequence[Document]) -> Table:
    table = Table(title="Audit trail", title_justify="left")
    for name in _COLUMNS:
        table.add_column(name, overflow="fold")
    for entry in entries:
        cells = (entry.get(name) for name in _COLUMNS)
        table.add_row(*(render.NOTHING if c is None else render.safe(str(c)) for c in cells))
    return table
