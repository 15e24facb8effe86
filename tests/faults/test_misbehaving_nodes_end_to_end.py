"""Each misbehaving node costs the client of the gateway that node's offers, and nothing else."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final

import pytest

from gateway.settings import FederationSettings
from gateway.wire import kinds
from gateway.wire.decode import decode_offerset, decode_session
from gateway.wire.documents import Document, to_json
from gateway.wire.phases import MessageLevel, SessionPhase
from gateway.wire.schemas.session import OfferSetSchema
from tests.api.gateway.conftest import Federation, running_federation
from tests.support import faulty_nodes as nodes
from tests.support.faulty_nodes import Behaviour, FaultyNode, running
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

DEADLINE_S: Final = 0.5
MARGIN_S: Final = 0.5
"""Allowed beyond the deadline for judging, ranking, saving and answering. Gateway, nodes and client
share one process here, traced for coverage, on a busy machine."""

CROWD_MARGIN_S: Final = 1.5
"""The same with fifty nodes in the process, some of which send as much as they can."""
HEALTHY: Final = ("alpha", "omega")
FEDERATION: Final = FederationSettings(deadline_s=DEADLINE_S, connect_s=0.2, late_s=2.0, limit=100)
TAKEN: Final = {
    phase.value
    for phase in SessionPhase
    if phase.value not in {"INITIAL", "OFFERED", "REJECTED", "EXPIRED", "FAILED", "CANCELLED"}
}


def with_offer(**changes: Any) -> Behaviour:
    """A node whose one offer is changed so."""
    return answers(offerset(nodes.offer_document() | changes))


def with_component(name: str, **changes: Any) -> Behaviour:
    """A node of whose offer one component is changed so."""
    offer = nodes.offer_document()
    return with_offer(**{name: offer[name] | changes})


def offerset(*offers: Document) -> Document:
    return nodes.offerset_document(list(offers))


def answers(document: Any) -> Behaviour:
    async def behave(asked: nodes.Asked, writer: Any) -> None:
        del asked
        writer.write(nodes.http_reply(json.dumps(document).encode()))

    return behave


def message(**changes: Any) -> Document:
    return {
        "kind": "urn:no-capacity",
        "time": "2026-08-03T09:00:00Z",
        "level": "WARN",
        "template": "full",
        "message": "full",
    } | changes


def meta(**changes: Any) -> Document:
    unchanged: Document = nodes.offer_document()["meta"]
    return unchanged | changes


FAULTS: Final[dict[str, tuple[Behaviour | None, str, str]]] = {
    "refuses": (None, "refused", "connection_refused"),
    "hangs-before-headers": (nodes.hangs_before_headers, "timeout", "headers_timeout"),
    "hangs-mid-body": (nodes.hangs_mid_body, "timeout", "body_timeout"),
    "drips-headers": (nodes.drips(1.0), "timeout", "headers_timeout"),
    "drips-body": (nodes.drips(0.0008), "timeout", "body_timeout"),
    "answers-late": (nodes.answers_late(DEADLINE_S + 0.1), "timeout", "headers_timeout"),
    "answers-500": (nodes.answers_500, "error", "error_status"),
    "answers-404": (nodes.answers_status("404 Not Found"), "error", "error_status"),
    "refuses-credentials": (nodes.refuses_credentials, "error", "refused_credentials"),
    "speaks-no-http": (nodes.speaks_no_http, "invalid", "invalid_answer"),
    "answers-garbage": (nodes.answers_garbage, "invalid", "invalid_answer"),
    "answers-a-list": (nodes.answers_wrong_type, "invalid", "invalid_answer"),
    "answers-html": (nodes.wrong_content_type, "invalid", "invalid_answer"),
    "redirects-elsewhere": (nodes.redirects_elsewhere, "invalid", "invalid_answer"),
    "closes-before-headers": (nodes.closes_before_headers, "error", "connection_lost"),
    "closes-mid-body": (nodes.closes_mid_body, "error", "connection_lost"),
    "huge-body": (nodes.huge_body(), "invalid", "answer_too_large"),
    "huge-chunks": (nodes.huge_body(says_length=False), "invalid", "answer_too_large"),
    "result-maybe": (answers(offerset() | {"result": "MAYBE"}), "invalid", "invalid_answer"),
    "offers-no-list": (answers(offerset() | {"offers": {}}), "invalid", "invalid_answer"),
    "yes-without-offers": (nodes.says_yes_without_offers, "no", "no_offers_given"),
    "says-no": (nodes.says_no(), "no", "node_said_no"),
}
"""Faults of the whole answer: the behaviour, and the outcome and reason they are to have."""

BREAKING: Final[dict[str, Behaviour]] = {
    "unknown-session-kind": with_offer(kind="urn:example:another-session"),
    "recursing-session-kind": with_offer(kind=kinds.SIMPLE_SESSION),
    "unknown-executable-kind": with_component("executable", kind="urn:example:abacus"),
    "unknown-compute-kind": with_component("compute", kind="urn:example:abacus"),
    "recursing-cost": with_offer(costs=[{"kind": kinds.ABSTRACT_COST}]),
    "recursing-metric": with_offer(metrics=[{"kind": kinds.ABSTRACT_METRIC}]),
    "unknown-option": with_offer(
        meta=meta(options=[{"kind": "urn:example:option", "path": "phase"}])
    ),
    "unknown-phase": with_offer(phase="READY"),
    "phase-in-lower-case": with_offer(phase="offered"),
    "no-phase": with_offer(phase=None),
    "unknown-component-phase": with_component("compute", phase="TEARDOWN"),
    "unknown-level": with_offer(meta=meta(messages=[message(level="WARNING")])),
    "values-that-are-no-text": with_offer(meta=meta(messages=[message(values={"cores": 4})])),
    "time-without-zone": with_offer(meta=meta(messages=[message(time="2026-08-03T09:00:00")])),
    "uuid-that-is-none": with_offer(meta=meta(uuid="offer-1")),
    "no-meta": with_offer(meta=None),
    "expires-without-zone": with_offer(expires="2099-01-01T00:00:00"),
    "cores-with-a-point": with_component("compute", cores={"min": 2.5, "max": 2.5}),
    "cores-as-text": with_component("compute", cores={"min": "2", "max": "2"}),
    "cost-as-text": with_offer(
        costs=[{"kind": kinds.MINMAX_COST, "type": kinds.MONETARY_COST, "min": "0.1"}]
    ),
    "start-that-is-no-interval": with_component(
        "compute", schedule={"available": {"start": "2099-01-01T00:00:00Z", "duration": "PT1M"}}
    ),
    "duration-in-words": with_component(
        "compute", schedule={"available": {"duration": "half an hour"}}
    ),
    "offer-that-is-no-object": answers(offerset() | {"result": "YES", "offers": [7, "x", None]}),
    "nested-for-ever": with_offer(notes=json.loads("[" * 900 + "]" * 900)),
}
"""Offers that would cost the public client its whole answer."""


def is_readable(document: Document) -> None:
    """The public client can parse it: every rule of the schema holds, for every offer."""
    body = to_json(document)
    envelope = decode_offerset(body)
    assert OfferSetSchema().validate(document) == {}
    for raw in envelope.offers:
        decode_session(raw)
    for said in envelope.messages:
        assert said["level"] in set(MessageLevel)
        assert all(isinstance(value, str) for value in said.get("values", {}).values())


@asynccontextmanager
async def beside(
    data_dir: Path, behaviour: Behaviour | None
) -> AsyncIterator[tuple[Federation, FaultyNode]]:
    """A gateway over two healthy nodes and one that behaves so; None does not listen."""
    if behaviour is None:
        with nodes.refuses() as refusing:
            async with running_federation(
                data_dir, HEALTHY, others={"faulty": refusing.url}, federation=FEDERATION
            ) as federation:
                yield federation, refusing
        return
    async with (
        running(behaviour) as node,
        running_federation(
            data_dir, HEALTHY, others={"faulty": node.url}, federation=FEDERATION
        ) as federation,
    ):
        yield federation, node


@asynccontextmanager
async def faulty_crowd(behaviours: Mapping[str, Behaviour]) -> AsyncIterator[dict[str, str]]:
    """All of these at once: their URLs by name."""
    async with AsyncExitStack() as stack:
        yield {
            name: (await stack.enter_async_context(running(behaviour))).url
            for name, behaviour in behaviours.items()
        }


async def asked(federation: Federation) -> Document:
    """The answer, on time, readable and with all that the healthy nodes offer."""
    began = monotonic()
    answer = await federation.gateway.ask(minimal_request())
    took_s = monotonic() - began
    assert took_s <= DEADLINE_S + MARGIN_S
    assert answer.status == 303, answer.text
    document: Document = answer.document
    is_readable(document)
    offers = [offer["federation"]["node"] for offer in document["offers"]]
    assert sorted(offers) == ["alpha", "alpha", "omega", "omega"]
    covered = [entry["node"] for entry in document["federation"]["coverage"]]
    assert covered == ["alpha", "faulty", "omega"]
    return document


def coverage_of_faulty(document: Document) -> Document:
    (entry,) = [e for e in document["federation"]["coverage"] if e["node"] == "faulty"]
    assert entry["offers"] == 0
    about = [m for m in document["meta"]["messages"] if m["values"].get("node") == "faulty"]
    assert any("faulty" in m.get("message", "") for m in about), "for who cannot see the coverage"
    found: Document = entry
    return found


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_faulty_node_costs_only_its_own_offers_and_is_named(
    tmp_path: Path, fault: str
) -> None:
    behaviour, outcome, code = FAULTS[fault]
    async with beside(tmp_path, behaviour) as (federation, _):
        entry = coverage_of_faulty(await asked(federation))
    assert (entry["outcome"], entry["reason"]["code"]) == (outcome, code)


@pytest.mark.parametrize("fault", BREAKING)
async def test_an_offer_that_would_break_a_client_is_never_passed_on(
    tmp_path: Path, fault: str
) -> None:
    async with beside(tmp_path, BREAKING[fault]) as (federation, _):
        entry = coverage_of_faulty(await asked(federation))
    assert entry["outcome"] in {"invalid", "answered"}
    assert entry["reason"]["code"] in {"no_usable_offer", "no_fitting_offer"}


@pytest.mark.parametrize(
    "said",
    [
        [message(level="WARNING")],
        [message(level=None)],
        [message(level={"is": "high"})],
        [message(values={"limit": 4, "of": [1, None], "why": None})],
        [message(values=["limit", 4])],
        [message(values=None)],
        [message(values="4")],
        [message(kind=7)],
        [message(time="yesterday")],
        [message(time="2026-08-03T09:00:00")],
        [message(time=1785747600)],
        [message(template=None, message=["full"])],
        [message(notes=json.loads("[" * 900 + "]" * 900))],
        ["full", 7, None, []],
        [{}],
        [message(message="x" * 1_000_000)],
        [message()] * 5000,
    ],
    ids=lambda said: json.dumps(said)[:60],
)
async def test_a_refusal_in_odd_words_is_told_in_words_that_every_client_reads(
    tmp_path: Path, said: list[Any]
) -> None:
    document = offerset()
    document["meta"]["messages"] = said
    async with beside(tmp_path, answers(document)) as (federation, _):
        answer = await asked(federation)
    entry = coverage_of_faulty(answer)
    assert (entry["outcome"], entry["reason"]["code"]) == ("no", "node_said_no")
    assert len(to_json(answer)) < 200_000


async def test_a_late_answer_is_taken_in_and_shown_as_late(tmp_path: Path) -> None:
    behaviour = nodes.answers_late(DEADLINE_S + 0.1, offers=1)
    async with beside(tmp_path, behaviour) as (federation, _):
        document = await asked(federation)
        path = f"/offersets/{document['meta']['uuid']}"

        async def has_come() -> Document | None:
            shown: Document = (await federation.gateway.call("GET", path)).document
            return shown if len(shown["offers"]) == 5 else None

        shown = await eventually(has_come)
    assert shown is not None
    is_readable(shown)
    assert [e["outcome"] for e in shown["federation"]["coverage"]] == [
        "answered",
        "late",
        "answered",
    ]


async def test_a_node_that_answers_unchanged_to_an_acceptance_costs_no_other_offer(
    tmp_path: Path,
) -> None:
    async with beside(tmp_path, nodes.answers_unchanged_to_accept()) as (federation, _):
        answer = await federation.gateway.ask(minimal_request())
        by_node = {o["federation"]["node"]: o["meta"]["uuid"] for o in answer.document["offers"]}
        began = monotonic()
        refused = await federation.gateway.move(
            by_node["faulty"], "ACCEPTED", Prefer="handling=strict"
        )
        assert monotonic() - began < DEADLINE_S + MARGIN_S
        assert refused.status == 409
        assert "faulty" in refused.document["detail"]
        assert by_node["alpha"] in refused.document["alternatives"]
        assert (await federation.gateway.read(by_node["faulty"]))["phase"] == "OFFERED"
        accepted = await federation.gateway.move(by_node["alpha"], "ACCEPTED")
        assert accepted.document["phase"] in TAKEN


async def test_all_faults_at_once_cost_no_more_time_than_one(tmp_path: Path) -> None:
    behaviours = {name: fault[0] for name, fault in FAULTS.items() if fault[0] is not None}
    async with (
        faulty_crowd(behaviours | BREAKING) as urls,
        running_federation(tmp_path, HEALTHY, others=urls, federation=FEDERATION) as federation,
    ):
        began = monotonic()
        answer = await federation.gateway.ask(minimal_request())
        took_s = monotonic() - began
    assert took_s <= DEADLINE_S + CROWD_MARGIN_S
    assert answer.status == 303
    is_readable(answer.document)
    coverage = {e["node"]: e for e in answer.document["federation"]["coverage"]}
    assert coverage.keys() == {*HEALTHY, *urls}
    assert {e["node"] for e in coverage.values() if e["offers"]} == set(HEALTHY)
    assert {name: coverage[name]["outcome"] for name in behaviours} == {
        name: FAULTS[name][1] for name in behaviours
    }
