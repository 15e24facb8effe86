"""The demo's request, and the answer to it: what is asked, who answered, which offer is best."""

import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from rich.console import Console

from gateway.cli import render
from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.demo.errors import DemoError
from gateway.cli.demo.settings import CONFIG
from gateway.cli.demo.telling import step, tell_list
from gateway.cli.errors import messages_of
from gateway.cli.requests import load_request
from gateway.cli.summary import OfferSummary, at, items, summarise_coverage, summarise_offers
from gateway.wire.documents import Document

REQUEST: Final = CONFIG / "request-demo.yaml"
"""What the demo asks for."""

ARCHIVE: Final = "http://archive.example.org"
"""The archive that the request names, in whose place the demo's own stands."""

ASK_S: Final = 20.0
"""How long nodes may take to answer; the answer comes as soon as all of them have."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The answer: an offer set, and its offers, the best first."""

    offerset: UUID
    offers: Sequence[OfferSummary]
    best: Document


def demo_request(archive_url: str) -> Document:
    """The request of the example, with its notebook at an archive that exists.

    Raises
    ------
    RequestFileError
    """
    request = deepcopy(load_request(str(REQUEST)))
    executable = request["executable"]
    executable["location"] = executable["location"].replace(ARCHIVE, archive_url, 1)
    return request


async def ask(to: Console, client: ExecutionBrokerClient, request: Document) -> Asked:
    """Ask for offers and show them, the best first.

    Raises
    ------
    DemoError
        There are none.
    """
    step(to, f"What is asked (config/{REQUEST.name})")
    _show_request(to, request)
    began = time.perf_counter()
    offerset = await client.request_offers(request, wait_s=ASK_S)
    took_ms = (time.perf_counter() - began) * 1000
    offers, now = summarise_offers(offerset), datetime.now(UTC)
    step(to, f"Who answered, and how fast: {took_ms:.0f} ms for all")
    to.print(render.coverage_table(summarise_coverage(offerset)))
    if not offers:
        render.show_messages(to, offerset)
        raise DemoError("no node made an offer")
    step(to, f"The {len(offers)} best offers, and why")
    to.print(render.offers_table(offers, now))
    best = offers[0]
    for offer in (best, next((one for one in offers if one.node != best.node), None)):
        if offer is not None:
            tell_list(to, f"Why {offer.node} is number {offer.rank}", offer.reasons)
    document = items(offerset, "offers")[0]
    tell_list(to, f"How {best.node} would run it", messages_of(document))
    return Asked(UUID(offerset["meta"]["uuid"]), offers, document)


def _show_request(to: Console, request: Document) -> None:
    executable, compute = request["executable"], request["compute"]
    parameters = executable.get("environment") or {}
    lines = [
        ("notebook", executable["location"]),
        ("with", ", ".join(f"{name} = {value}" for name, value in parameters.items())),
        ("cores", f"{at(compute, 'cores', 'min')} to {at(compute, 'cores', 'max')}"),
        ("memory", f"{at(compute, 'memory', 'min')} to {at(compute, 'memory', 'max')} GiB"),
    ]
    for data in items(request, "data"):
        did = f"{at(data, 'skao', 'namespace')}:{at(data, 'skao', 'objectname')}"
        lines += [("data", f"{did}, wherever that is, however large it is")]
    lines += [("mounted", f"{v['path']}, {v['mode']}") for v in items(compute, "volumes")]
    lines.append(("for", str(at(request, "schedule", "requested", "duration"))))
    for cost in items(request, "costs"):
        lines.append(("limit", f"{str(cost['type']).rpartition(':')[2]} at most {cost['max']}"))
    for name, value in lines:
        to.print(render.safe(f"  {name:<9} {value}"))
