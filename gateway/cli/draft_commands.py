"""The commands about drafts: requests that are written step by step, and then asked with."""

import argparse
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from gateway.cli.asking import submit_draft
from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.connection import Answer
from gateway.cli.list_commands import list_pages
from gateway.cli.output import OK, Output
from gateway.cli.render import safe, show_messages
from gateway.cli.requests import load_request
from gateway.cli.summary import at, items
from gateway.wire.codecs.registry import YAML
from gateway.wire.codecs.roots import ROOT_DOCUMENT
from gateway.wire.documents import Document, from_json
from gateway.wire.kinds import (
    COMPONENT_UPDATE,
    INTEGER_UPDATE,
    IVOA_DATA,
    RUCIO_DATA,
    SIMPLE_DATA,
    STRING_UPDATE,
)

Command = Callable[[ExecutionBrokerClient, argparse.Namespace, Output], Awaitable[int]]

_INTEGER: Final = re.compile("-?[0-9]{1,18}", re.ASCII)
_MERGE_PATCH: Final[Mapping[str, str]] = {"Content-Type": "application/merge-patch+json"}


async def new(client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output) -> int:
    """Begins a draft."""
    given: Document = {
        "name": arguments.name,
        "template": _template(arguments.template) if arguments.template else None,
        "request": load_request(arguments.request) if arguments.request else None,
        "offerset": str(arguments.offerset) if arguments.offerset else None,
        "session": str(arguments.session) if arguments.session else None,
        "rucio_did": arguments.rucio_did,
        "ivoid": arguments.ivoid,
    }
    source = {name: value for name, value in given.items() if value is not None}
    return _shown(await client.exchange("POST", "drafts", source), output)


async def show(client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output) -> int:
    """Shows a draft."""
    return _shown(await client.exchange("GET", f"drafts/{arguments.uuid}"), output)


async def change(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Sets one text or number."""
    is_number = not arguments.text and _INTEGER.fullmatch(arguments.value)
    update: Document = {
        "kind": INTEGER_UPDATE if is_number else STRING_UPDATE,
        "path": arguments.path,
        "value": int(arguments.value) if is_number else arguments.value,
    }
    return _shown(await client.exchange("PATCH", f"drafts/{arguments.uuid}", update), output)


async def patch(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Changes the request by a merge patch."""
    document: Document = {"request": load_request(arguments.file)}
    answer = await client.exchange(
        "PATCH", f"drafts/{arguments.uuid}", document, headers=_MERGE_PATCH
    )
    return _shown(answer, output)


async def resolve(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Supplies a component."""
    update: Document = {
        "kind": COMPONENT_UPDATE,
        "path": arguments.path,
        "value": _component(arguments),
    }
    return _shown(await client.exchange("PATCH", f"drafts/{arguments.uuid}", update), output)


async def remove(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Deletes a draft."""
    await client.exchange("DELETE", f"drafts/{arguments.uuid}")
    if output.is_json:
        output.result({"deleted": str(arguments.uuid)})
    return OK


async def list_drafts(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Lists the caller's drafts."""
    return await list_pages(
        client,
        arguments,
        output,
        what="drafts",
        columns=("uuid", "name", "modified", "revision"),
        row=lambda draft: (
            at(draft, "meta", "uuid"),
            at(draft, "meta", "name"),
            at(draft, "meta", "modified"),
            draft.get("revision"),
        ),
    )


DRAFT_COMMANDS: Final[Mapping[str, Command]] = {
    "draft new": new,
    "draft show": show,
    "draft set": change,
    "draft patch": patch,
    "draft resolve": resolve,
    "draft submit": submit_draft,
    "draft list": list_drafts,
    "draft rm": remove,
}
"""Each command by the words it is called with."""


def _template(text: str) -> Document:
    uuid, _, version = text.partition("@")
    return {"uuid": uuid, "version": int(version)} if version.isdigit() else {"uuid": text}


def _component(arguments: argparse.Namespace) -> Document:
    if arguments.file is not None:
        return load_request(arguments.file)
    if arguments.location is not None:
        return {"kind": SIMPLE_DATA, "location": arguments.location}
    if arguments.ivoid is not None:
        return {"kind": IVOA_DATA, "ivoa": {"ivoid": arguments.ivoid}}
    scope, _, name = arguments.rucio_did.partition(":")
    return {"kind": RUCIO_DATA, "rucio": {"scope": scope, "object": name}}


def _shown(answer: Answer, output: Output) -> int:
    draft: Document = from_json(answer.body)
    if output.is_json:
        output.result(draft)
        return OK
    to = output.tables
    name = at(draft, "meta", "name")
    title = f"Draft {at(draft, 'meta', 'uuid')}, revision {draft.get('revision')}"
    to.print(safe(f"{title}: {name}" if name else title))
    to.print(safe(YAML.encode(draft.get("request") or {}, ROOT_DOCUMENT).decode().rstrip()))
    show_messages(to, draft)
    for option in items(draft.get("meta") or {}, "options"):
        to.print(
            safe(
                f"  execbroker draft resolve {at(draft, 'meta', 'uuid')} '{option.get('path')}' ..."
            )
        )
    for submission in items(draft, "submissions"):
        revision, offerset = submission.get("revision"), submission.get("offerset")
        to.print(safe(f"Asked as revision {revision}: offer set {offerset}"))
    return OK
