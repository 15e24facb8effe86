"""``execbroker admin``: who may join the federation, and what becomes of the nodes in it."""

import argparse
from collections.abc import Sequence

from rich.table import Table

from gateway.cli import render
from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.output import OK, Output
from gateway.cli.summary import at, items, text
from gateway.wire.documents import Document


async def token(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Makes a token. It alone is written to standard output, to be piped to where it is needed."""
    wishes: Document = {
        "name": arguments.name,
        "expires_s": arguments.expires,
        "owners": arguments.owners or None,
        "groups": arguments.groups or None,
    }
    made = await client.make_registration_token(
        {name: value for name, value in wishes.items() if value is not None}
    )
    if output.is_json:
        output.result(made)
        return OK
    output.out.write(f"{made.get('token')}\n")
    who = f"node {made['name']}" if made.get("name") else "one node"
    output.remark(f"Good for {who} until {made.get('expires')}; it is not shown again.")
    return OK


async def nodes(
    client: ExecutionBrokerClient,
    arguments: argparse.Namespace,  # noqa: ARG001 - every command is called alike
    output: Output,
) -> int:
    """Shows where each node stands, since when, and why."""
    listed = await client.nodes()
    if output.is_json:
        output.result({"nodes": listed})
    else:
        output.tables.print(_table(listed))
    return OK


async def drain(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Has a node take no new requests."""
    return _shown(await client.change_node(arguments.node, {"draining": True}), output)


async def resume(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Has a node take requests again."""
    return _shown(await client.change_node(arguments.node, {"draining": None}), output)


async def remove(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Ends the registration of a node."""
    await client.remove_node(arguments.node, forget=arguments.forget)
    if output.is_json:
        output.result({"name": arguments.node, "removed": True})
    else:
        output.remark(f"Node {arguments.node} is out.")
    return OK


def _shown(node: Document, output: Output) -> int:
    if output.is_json:
        output.result(node)
    else:
        output.remark(f"Node {node.get('name')} is {node.get('state')}.")
    return OK


def _table(listed: Sequence[Document]) -> Table:
    table = Table(title="Nodes", title_justify="left")
    for name in ("node", "url", "state", "why", "since", "lease until", "for"):
        table.add_column(name, overflow="fold")
    for node in listed:
        latest = next(iter(items(node, "changes")), {})
        allowed = [str(name) for kind in ("owners", "groups") for name in node.get(kind) or ()]
        cells = (
            text(node.get("name")),
            text(node.get("url")),
            text(node.get("state")),
            text(latest.get("cause")),
            text(latest.get("at")),
            text(at(node, "lease", "expires")),
            ", ".join(allowed) or "everybody",
        )
        table.add_row(*(render.NOTHING if cell is None else render.safe(cell) for cell in cells))
    return table
