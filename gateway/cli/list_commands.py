"""The commands that list what one owns, page after page."""

import argparse
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from yarl import URL

from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.connection import Answer
from gateway.cli.output import OK, Output
from gateway.cli.render import NOTHING, plain_table, safe
from gateway.cli.summary import items
from gateway.wire.documents import Document, from_json

Command = Callable[[ExecutionBrokerClient, argparse.Namespace, Output], Awaitable[int]]

PAGE: Final = 200
"""Entries asked for at once: as many as a gateway gives."""

_NEXT: Final = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')
_FILTERS: Final = ("name", "since", "until", "sort", "owner", "phase", "node")


async def list_offersets(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Lists offer sets."""
    return await list_pages(
        client,
        arguments,
        output,
        what="offersets",
        columns=("offer set", "name", "created", "result", "offers"),
        row=lambda entry: (
            entry.get("uuid"),
            entry.get("name"),
            entry.get("created"),
            entry.get("result"),
            ", ".join(f"{count} {phase}" for phase, count in entry.get("phases", {}).items()),
        ),
    )


async def list_sessions(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Lists sessions."""
    return await list_pages(
        client,
        arguments,
        output,
        what="sessions",
        columns=("session", "name", "node", "phase", "changed"),
        row=lambda entry: tuple(
            entry.get(name) for name in ("uuid", "name", "node", "phase", "changed")
        ),
    )


LIST_COMMANDS: Final[Mapping[str, Command]] = {
    "list offersets": list_offersets,
    "list sessions": list_sessions,
}
"""Each command by the words it is called with."""


async def list_pages(
    client: ExecutionBrokerClient,
    arguments: argparse.Namespace,
    output: Output,
    *,
    what: str,
    columns: Sequence[str],
    row: Callable[[Document], Sequence[object]],
) -> int:
    """Shows a list, as many of its pages as are needed for ``--limit``."""
    query = {
        name: value for name in _FILTERS if (value := getattr(arguments, name, None)) is not None
    }
    found: list[Document] = []
    cursor: str | None = ""
    while cursor is not None and len(found) < arguments.limit:
        more = {"limit": str(min(PAGE, arguments.limit - len(found)))}
        if cursor:
            more["cursor"] = cursor
        answer = await client.exchange("GET", what, query=query | more)
        found += items(from_json(answer.body), what)
        cursor = _cursor_after(answer)
    if output.is_json:
        output.result({what: found})
        return OK
    table = plain_table(what.capitalize())
    for column in columns:
        table.add_column(column, overflow="fold")
    for entry in found:
        table.add_row(*(safe(NOTHING if value is None else value) for value in row(entry)))
    output.tables.print(table)
    if cursor is not None:
        output.remark(f"There are more than {arguments.limit}; ask for them with --limit.")
    return OK


def _cursor_after(answer: Answer) -> str | None:
    """The cursor in the link to the next page (RFC 8288); None where there is none."""
    found = _NEXT.search(answer.headers.get("Link", ""))
    return URL(found[1]).query.get("cursor") if found else None
