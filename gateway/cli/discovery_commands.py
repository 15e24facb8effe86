"""The commands that ask what there is, before anything is asked of a node."""

import argparse
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from rich.table import Table

from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.output import OK, REFUSED, Output
from gateway.cli.overload import when_there_is_room
from gateway.cli.render import NOTHING, human_bytes, human_seconds, plain_table, safe
from gateway.cli.requests import load_request
from gateway.cli.summary import at, items, text_of_reason
from gateway.wire.documents import Document

_URL_MARKS: Final = ("https://", "http://")


async def discover_kinds(
    client: ExecutionBrokerClient,
    arguments: argparse.Namespace,  # noqa: ARG001 - every command is called alike
    output: Output,
) -> int:
    """Lists the kinds, those that most nodes know first."""
    found = await client.discover("kinds")
    kinds = sorted(
        items(found, "kinds"), key=lambda kind: (-_count(kind, "nodes"), str(kind.get("name")))
    )
    title = f"Kinds, at {found.get('nodes')} nodes"
    rows = [
        (kind.get("name"), *(_count(kind, name) for name in ("nodes", "refusing", "unknown")))
        for kind in kinds
    ]
    return _shown(output, found, title, ("kind", "yes", "no", "unknown"), rows)


async def discover_nodes(
    client: ExecutionBrokerClient,
    arguments: argparse.Namespace,  # noqa: ARG001 - every command is called alike
    output: Output,
) -> int:
    """Lists the nodes."""
    found = await client.discover("nodes")
    rows = [
        (
            node.get("name"),
            node.get("site"),
            node.get("state"),
            node.get("speed"),
            _amount(at(node, "limits", "cores"), ""),
            _amount(at(node, "limits", "memory_gib"), " GiB"),
            _joined(node.get("storage")),
        )
        for node in items(found, "nodes")
    ]
    columns = ("name", "site", "state", "speed", "cores", "memory", "storage")
    return _shown(output, found, "Nodes", columns, rows)


async def discover_data(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Shows what is known of data, and what that means for each node."""
    names: Sequence[str] = arguments.identifiers
    ivoids = [name for name in names if name.startswith("ivo://")]
    dids = [name for name in names if name not in ivoids]
    found = await client.discover("data", rucio_did=",".join(dids), ivoid=",".join(ivoids))
    if not output.is_json:
        output.tables.print(_table("Data", ("id", "size", "files", "remark"), _data(found)))
    columns = ("node", "site", "here", "to move", "ready after", "basis")
    _shown(output, found, "Nodes", columns, map(_placed, items(found, "nodes")))
    return OK if all(one.get("is_found") for one in items(found, "data")) else REFUSED


async def discover_software(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Lists execution templates."""
    found = await client.discover(
        "software",
        q=" ".join(arguments.words),
        kind=arguments.kind,
        keyword=arguments.keyword,
        owner="me" if arguments.mine else None,
        limit=arguments.limit,
    )
    rows = [
        (one.get("uuid"), one.get("version"), one.get("title"), _joined(one.get("keywords")))
        for one in items(found, "software")
    ]
    return _shown(output, found, "Software", ("uuid", "version", "title", "keywords"), rows)


async def estimate(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Shows what would come of a request; asks no node."""
    document = load_request(arguments.request)
    how = {"policy": arguments.policy, "nodes": arguments.nodes}
    ask = partial(client.send_discovery, "estimate", document, **how)
    found = await when_there_is_room(ask, output)
    is_permitted = bool(found.get("is_permitted"))
    if output.is_json:
        output.result(found)
        return OK if is_permitted else REFUSED
    if not is_permitted:
        output.remark(f"It would be refused: {at(found, 'refusal', 'detail')}")
        return REFUSED
    for place in items(found, "placeholders"):
        output.remark(f"{place.get('path')} is still open: {place.get('wanted')}")
    columns = ("node", "site", "usual answer", "here", "to move", "ready after")
    output.tables.print(_table("Would be asked", columns, map(_asked, items(found, "asked"))))
    skipped = [
        (one.get("node"), text_of_reason(one.get("reason"))) for one in items(found, "skipped")
    ]
    if skipped:
        output.tables.print(_table("Would not be asked", ("node", "why"), skipped))
    return OK


async def publish(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Publishes an execution template from a file or a URL."""
    name: str = arguments.template
    if name.startswith(_URL_MARKS):
        made = await client.send_discovery("import", {"url": name})
    else:
        made = await client.send_discovery("software", load_request(name))
    if output.is_json:
        output.result(made)
        return OK
    output.tables.print(safe(f"Template {made.get('uuid')}: {made.get('title')}"))
    for place in items(made, "placeholders"):
        output.tables.print(safe(f"  to be supplied: {place.get('path')} {place.get('name')}"))
    return OK


def _shown(
    output: Output,
    document: Document,
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> int:
    """The document for programs, the table for people."""
    if output.is_json:
        output.result(document)
    else:
        output.tables.print(_table(title, columns, rows))
    return OK


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    table = plain_table(title)
    for name in columns:
        # Identifiers are to be copied, so they stay in one piece.
        table.add_column(name, no_wrap=name in {"uuid", "id"})
    for row in rows:
        table.add_row(*(safe(NOTHING if cell in (None, "") else cell) for cell in row))
    return table


def _data(found: Document) -> list[tuple[Any, ...]]:
    return [
        (
            one.get("id"),
            human_bytes(one.get("bytes")),
            one.get("files"),
            "" if one.get("is_found") else text_of_reason(one.get("reason")) or "not known here",
        )
        for one in items(found, "data")
    ]


def _placed(node: Document) -> tuple[Any, ...]:
    return node.get("name"), node.get("site"), *_placement(node), node.get("basis")


def _asked(node: Document) -> tuple[Any, ...]:
    placement = node.get("placement")
    median_s = at(node, "answer_s", "p50")
    usual = None if median_s is None else f"{median_s * 1000:.0f} ms"
    return node.get("node"), node.get("site"), usual, *_placement(placement)


def _placement(document: Any) -> tuple[Any, ...]:
    """How much is there, how much must come, and how long that takes."""
    staging_s = at(document, "staging_s")
    return (
        human_bytes(at(document, "bytes_local")),
        human_bytes(at(document, "bytes_to_move")),
        None if staging_s is None else human_seconds(staging_s),
    )


def _count(document: Document, name: str) -> int:
    value = document.get(name)
    return value if isinstance(value, int) else 0


def _amount(value: Any, unit: str) -> str | None:
    return f"{value:g}{unit}" if isinstance(value, int | float) else None


def _joined(value: Any) -> str:
    return ", ".join(str(item) for item in value) if isinstance(value, list) else ""
