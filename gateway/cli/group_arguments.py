"""The options of the commands that come in groups, and of those about software."""

import argparse
import re
from typing import Final
from uuid import UUID

from gateway.cli.subcommands import AddCommand, names

_UNITS_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_PERIOD: Final = re.compile(r"([0-9]{1,9})([smhd]?)", re.ASCII)


def period(words: str) -> int:
    """Seconds, as in ``90``, ``30m``, ``1h`` or ``2d``.

    Raises
    ------
    argparse.ArgumentTypeError
    """
    match = _PERIOD.fullmatch(words)
    if match is None or int(match[1]) < 1:
        raise argparse.ArgumentTypeError(f"{words!r} is no period such as 30m, 1h or 2d")
    return int(match[1]) * _UNITS_S[match[2]]


def add_admin_arguments(add: AddCommand) -> None:
    """The commands and their options."""
    token = add("token", "make a token with which a node can register")
    token.add_argument("--name", metavar="NODE", help="good for the node of this name alone")
    token.add_argument("--expires", type=period, metavar="PERIOD", help="30m, 1h, 2d, ...")
    token.add_argument(
        "--owners", type=names, default=[], metavar="A,B", help="whom the node will be for"
    )
    token.add_argument(
        "--groups", type=names, default=[], metavar="A,B", help="groups the node will be for"
    )
    add("nodes", "show where each node stands, and why")
    for name, does in (
        ("drain", "have a node take no new requests; its sessions go on"),
        ("resume", "have it take requests again"),
    ):
        add(name, does).add_argument("node", metavar="NODE")
    remove = add("remove", "end the registration of a node; its sessions are followed to their end")
    remove.add_argument("node", metavar="NODE")
    remove.add_argument(
        "--forget", action="store_true", help="and do not let it back in without a new token"
    )


def add_audit_arguments(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    command.add_argument("--who", metavar="OWNER", help="an owner, admin, node:NAME or nobody")
    command.add_argument(
        "--what", metavar="CALL", help="method and route, as in 'POST /sessions/{uuid}'"
    )
    command.add_argument("--object", metavar="UUID", help="the UUID or name it was about")
    command.add_argument("--since", metavar="TIME", help="from then on (2026-08-03T09:00:00Z)")
    command.add_argument("--until", metavar="TIME", help="before then")
    command.add_argument(
        "--limit", type=int, default=100, metavar="N", help="at most so many (default: 100)"
    )


def add_discovery_arguments(add: AddCommand) -> None:
    """The commands below ``execbroker discover``."""
    add("kinds", "which kinds of components can be run now, at how many nodes")
    add("nodes", "the nodes that you may use, and what they can do")
    data = add("data", "where data are, and how long each node would need to have them")
    data.add_argument(
        "identifiers", nargs="+", metavar="ID", help="scope:name of Rucio, or ivo://..."
    )
    software = add("software", "execution templates: software as it can be run")
    software.add_argument("words", nargs="*", metavar="WORD", help="beginnings of words in them")
    software.add_argument("--kind", help="only with such a component: docker-container, ...")
    software.add_argument("--keyword", help="only with this keyword")
    software.add_argument("--mine", action="store_true", help="only what you have published")
    software.add_argument("--limit", type=int, metavar="N", help="at most so many")


def add_estimate_arguments(command: argparse.ArgumentParser) -> None:
    """What ``execbroker estimate`` takes."""
    command.add_argument("request", metavar="REQUEST", help="as for submit, or a template")
    command.add_argument("--policy", help="the ranking that would be used")
    command.add_argument("--nodes", metavar="A,B", help="as if only these nodes were asked")


def add_publish_arguments(command: argparse.ArgumentParser) -> None:
    """What ``execbroker publish`` takes."""
    command.add_argument(
        "template", metavar="TEMPLATE", help="a file, or a URL from which the gateway imports"
    )


def add_draft_arguments(add: AddCommand) -> None:
    """The commands below ``execbroker draft``, all but ``submit``."""
    new = add("new", "begin a draft")
    new.add_argument("--name", help="to find it by")
    source = new.add_mutually_exclusive_group()
    source.add_argument(
        "--template", metavar="UUID[@N]", help="an execution template, in version N"
    )
    source.add_argument("--request", metavar="FILE", help="a request, YAML or JSON")
    source.add_argument("--offerset", type=UUID, metavar="UUID", help="what was asked there")
    source.add_argument("--session", type=UUID, metavar="UUID", help="what led to it")
    source.add_argument("--rucio-did", metavar="SCOPE:NAME", help="data to read")
    source.add_argument("--ivoid", metavar="ivo://…", help="data to read")
    show = add("show", "show a draft, what is missing and what is wrong")
    change = add("set", "set a text or a number")
    patch = add("patch", "change a draft by a merge patch of its request")
    resolve = add("resolve", "supply what is open")
    for command in (show, change, patch, resolve):
        command.add_argument("uuid", type=UUID, metavar="UUID")
    change.add_argument("path", metavar="PATH", help="such as compute.cores.min")
    change.add_argument("value", metavar="VALUE", help="a whole number, or else a text")
    change.add_argument("--text", action="store_true", help="a text, also if it is all digits")
    patch.add_argument("file", metavar="FILE", help="YAML or JSON; null removes a member")
    resolve.add_argument("path", metavar="PATH", help="such as data[0]")
    component = resolve.add_mutually_exclusive_group(required=True)
    component.add_argument("--file", metavar="FILE", help="the component, YAML or JSON")
    component.add_argument("--rucio-did", metavar="SCOPE:NAME", help="data known to Rucio")
    component.add_argument("--ivoid", metavar="ivo://…", help="data with an IVOA identifier")
    component.add_argument("--location", metavar="URL", help="data at a URL")
    add_filters(add("list", "list your drafts"))
    add("rm", "delete a draft").add_argument("uuid", type=UUID, metavar="UUID")


def add_list_arguments(add: AddCommand) -> None:
    """The commands below ``execbroker list``."""
    for command in (add("offersets", "what you have asked"), add("sessions", "what you execute")):
        add_filters(command)
        command.add_argument("--phase", metavar="A,B", help="only in these phases")
        command.add_argument("--node", help="only at this node")


def add_filters(command: argparse.ArgumentParser) -> None:
    """What every list is narrowed by."""
    command.add_argument("--name", help="only with this in the name")
    command.add_argument("--since", metavar="TIME", help="made then or later (ISO 8601)")
    command.add_argument("--until", metavar="TIME", help="made earlier than that")
    command.add_argument("--sort", help="created or changed; with a minus the latest first")
    command.add_argument("--owner", help="for administrators: only what belongs to this owner")
    command.add_argument(
        "--limit", type=int, default=50, metavar="N", help="at most so many (default: 50)"
    )
