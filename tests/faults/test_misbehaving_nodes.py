"""Each misbehaving node costs only its own offers, the answer is on time, and coverage names it."""

from time import monotonic

import pytest

from gateway.domain.coverage import Outcome
from gateway.domain.reasons import ReasonCode
from tests.support import faulty_nodes as nodes
from tests.support.asking import MAX_REPLY_BYTES, REFUSES, AnyBehaviour, asking
from tests.support.waiting import until

DEADLINE_S = 0.3
MARGIN_S = 0.15
"""Allowed beyond the deadline: for the scheduling of a loaded machine, not for the gateway."""

FAULTS: dict[str, tuple[AnyBehaviour, Outcome, ReasonCode]] = {
    "refuses": (REFUSES, Outcome.REFUSED, ReasonCode.CONNECTION_REFUSED),
    "hangs_before_headers": (
        nodes.hangs_before_headers,
        Outcome.TIMEOUT,
        ReasonCode.HEADERS_TIMEOUT,
    ),
    "hangs_mid_body": (nodes.hangs_mid_body, Outcome.TIMEOUT, ReasonCode.BODY_TIMEOUT),
    "drips_slowly": (nodes.drips(1.0), Outcome.TIMEOUT, ReasonCode.HEADERS_TIMEOUT),
    "drips_its_body": (nodes.drips(0.0005), Outcome.TIMEOUT, ReasonCode.BODY_TIMEOUT),
    "answers_late": (nodes.answers_late(0.35), Outcome.TIMEOUT, ReasonCode.HEADERS_TIMEOUT),
    "answers_500": (nodes.answers_500, Outcome.ERROR, ReasonCode.ERROR_STATUS),
    "answers_404": (
        nodes.answers_status("404 Not Found"),
        Outcome.ERROR,
        ReasonCode.ERROR_STATUS,
    ),
    "refuses_credentials": (
        nodes.refuses_credentials,
        Outcome.ERROR,
        ReasonCode.REFUSED_CREDENTIALS,
    ),
    "speaks_no_http": (nodes.speaks_no_http, Outcome.INVALID, ReasonCode.INVALID_ANSWER),
    "answers_garbage": (nodes.answers_garbage, Outcome.INVALID, ReasonCode.INVALID_ANSWER),
    "answers_wrong_type": (nodes.answers_wrong_type, Outcome.INVALID, ReasonCode.INVALID_ANSWER),
    "wrong_content_type": (nodes.wrong_content_type, Outcome.INVALID, ReasonCode.INVALID_ANSWER),
    "redirects_elsewhere": (nodes.redirects_elsewhere, Outcome.INVALID, ReasonCode.INVALID_ANSWER),
    "answers_unknown_kind": (
        nodes.answers_unknown_kind(),
        Outcome.INVALID,
        ReasonCode.NO_USABLE_OFFER,
    ),
    "answers_bad_phase": (nodes.answers_bad_phase(), Outcome.INVALID, ReasonCode.NO_USABLE_OFFER),
    "huge_body": (
        nodes.huge_body(16 * MAX_REPLY_BYTES),
        Outcome.INVALID,
        ReasonCode.ANSWER_TOO_LARGE,
    ),
    "huge_chunks": (
        nodes.huge_body(16 * MAX_REPLY_BYTES, says_length=False),
        Outcome.INVALID,
        ReasonCode.ANSWER_TOO_LARGE,
    ),
    "closes_before_headers": (
        nodes.closes_before_headers,
        Outcome.ERROR,
        ReasonCode.CONNECTION_LOST,
    ),
    "closes_mid_body": (nodes.closes_mid_body, Outcome.ERROR, ReasonCode.CONNECTION_LOST),
    "says_no": (nodes.says_no(), Outcome.NO, ReasonCode.NODE_SAID_NO),
}
_KNOWN_WITHOUT_HOLDS = {"refuses", "answers_500", "answers_404", "refuses_credentials", "says_no"}
_OFFERS_NAMED = {"answers_unknown_kind", "answers_bad_phase"}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_costs_only_its_own_offers_and_the_answer_is_on_time(fault: str) -> None:
    behaviour, outcome, code = FAULTS[fault]
    behaviours: dict[str, AnyBehaviour] = {
        "alpha": nodes.healthy(),
        fault: behaviour,
        "omega": nodes.healthy(),
    }
    async with asking(behaviours) as rig:
        began = monotonic()
        result = await rig.ask(wait_s=DEADLINE_S)
        took_s = monotonic() - began
    assert took_s < DEADLINE_S + MARGIN_S
    if outcome is not Outcome.TIMEOUT:
        assert took_s < DEADLINE_S, "a fault that shows at once is not waited for"
    coverage = [answer.to_coverage() for answer in result.answers]
    assert [entry.node for entry in coverage] == ["alpha", fault, "omega"]
    assert [entry.offers for entry in coverage] == [nodes.HEALTHY_OFFERS, 0, nodes.HEALTHY_OFFERS]
    assert coverage[1].outcome is outcome
    assert coverage[1].reason is not None
    assert coverage[1].reason.code is code


async def test_all_faults_at_once_cost_no_more_time_than_one() -> None:
    behaviours = {name: behaviour for name, (behaviour, _, _) in FAULTS.items()}
    async with asking({**behaviours, "healthy": nodes.healthy()}) as rig:
        began = monotonic()
        result = await rig.ask(wait_s=DEADLINE_S)
        took_s = monotonic() - began
    assert took_s < DEADLINE_S + MARGIN_S
    assert {a.node: a.outcome for a in result.answers} == {
        **{name: outcome for name, (_, outcome, _) in FAULTS.items()},
        "healthy": Outcome.ANSWERED,
    }
    assert len(result.answers[-1].offers) == nodes.HEALTHY_OFFERS


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - {"answers_late"}))
async def test_what_a_lost_answer_may_hold_is_counted(fault: str) -> None:
    async with asking({fault: FAULTS[fault][0]}) as rig:
        await rig.ask(wait_s=0.15, late_s=0.05)
        await until(lambda: not rig.fanout.calls_under_way)
        lost = rig.holds_lost(fault)
    assert lost == (0 if fault in _KNOWN_WITHOUT_HOLDS | _OFFERS_NAMED else 1)


@pytest.mark.parametrize("behaviour", [nodes.answers_unknown_kind(3), nodes.answers_bad_phase(3)])
async def test_one_bad_offer_costs_only_itself_and_its_hold_can_be_let_go(
    behaviour: nodes.Behaviour,
) -> None:
    async with asking({"alpha": behaviour}) as rig:
        answer = (await rig.ask()).answers[0]
    assert answer.outcome is Outcome.ANSWERED
    assert len(answer.offers) == 3
    assert answer.reply is not None
    (dropped,) = answer.reply.dropped
    assert dropped.reason.code is ReasonCode.INVALID_OFFER
    assert dropped.uuid is not None
    assert dropped.uuid not in {offer.view.uuid for offer in answer.offers}


async def test_an_offer_given_twice_is_taken_once() -> None:
    async with asking({"alpha": nodes.doubles_an_offer()}) as rig:
        answer = (await rig.ask()).answers[0]
    assert len(answer.offers) == 1
    assert answer.reply is not None
    assert [d.reason.code for d in answer.reply.dropped] == [ReasonCode.DUPLICATE_OFFER]


async def test_a_redirect_to_the_node_itself_is_followed_when_the_document_is_missing() -> None:
    async with asking({"alpha": nodes.redirects_home}) as rig:
        result = await rig.ask()
        asked = rig.nodes["alpha"].asked
    assert len(result.answers[0].offers) == nodes.HEALTHY_OFFERS
    assert [(a.method, a.path) for a in asked] == [("POST", "/requests"), ("GET", "/offersets/1")]


async def test_a_late_answer_is_handed_over_with_its_offers() -> None:
    async with asking({"alpha": nodes.answers_late(0.3), "beta": nodes.healthy()}) as rig:
        result = await rig.ask(wait_s=0.15, late_s=5)
        await rig.until_late(1)
        lost = rig.holds_lost("alpha")
    assert [a.outcome for a in result.answers] == [Outcome.TIMEOUT, Outcome.ANSWERED]
    (late,) = rig.late
    assert (late.node, late.outcome) == ("alpha", Outcome.LATE)
    assert len(late.offers) == nodes.HEALTHY_OFFERS
    assert lost == 0
