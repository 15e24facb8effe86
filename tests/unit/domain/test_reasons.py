"""The published list of reasons, and reasons as text, message and document."""

import re

import pytest

from gateway.domain.reasons import (
    REASONS,
    Reason,
    ReasonCode,
    published,
    reason,
    reason_from_document,
)
from gateway.wire.phases import MessageLevel
from tests.unit.domain.builders import NOW


def test_every_code_is_on_the_list_with_title_and_text() -> None:
    assert set(REASONS) == set(ReasonCode)
    for entry in REASONS.values():
        assert entry.title
        assert entry.text.endswith((".", "}")), entry.text


def test_codes_are_lower_case_names_of_their_own() -> None:
    for code in ReasonCode:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code.value)
        assert code.value == code.name.lower()


def test_a_text_is_filled_with_the_facts_of_the_case() -> None:
    why = reason(ReasonCode.BELOW_MINIMUM_CORES, offered=2, limit=4)
    assert why.text() == "2 cores offered, 4 needed."


@pytest.mark.parametrize("code", ReasonCode)
def test_a_fact_that_is_missing_leaves_a_readable_sentence(code: ReasonCode) -> None:
    assert "${" not in Reason(code).text()


def test_facts_beyond_the_text_are_kept_and_do_no_harm() -> None:
    why = reason(ReasonCode.DISABLED, since="Monday")
    assert why.text() == "The node is switched off in the gateway's configuration."
    assert why.to_document()["values"] == {"since": "Monday"}


def test_a_message_is_complete_and_names_its_code() -> None:
    why = reason(ReasonCode.HOP_LIMIT, hops=4, limit=4)
    assert why.to_message(NOW, node="alpha") == {
        "kind": "urn:execbroker:reason:hop_limit",
        "time": "2026-08-03T09:00:00Z",
        "level": "INFO",
        "template": "Node ${node}: The request has passed ${hops} gateways, ${limit} allowed.",
        "values": {"hops": "4", "limit": "4", "node": "alpha"},
        "message": "Node alpha: The request has passed 4 gateways, 4 allowed.",
    }


@pytest.mark.parametrize("code", ReasonCode)
def test_a_reason_survives_the_trip_through_a_document(code: ReasonCode) -> None:
    why = reason(code, node="alpha", limit=3)
    assert reason_from_document(why.to_document()) == why
    assert reason_from_document(Reason(code).to_document()) == Reason(code)


def test_a_code_that_is_not_on_the_list_is_refused() -> None:
    with pytest.raises(ValueError, match="no_such_code"):
        reason_from_document({"code": "no_such_code"})


def test_the_published_list_is_versioned_and_has_every_code_once() -> None:
    document = published()
    assert document["version"] >= 1
    assert [line["code"] for line in document["reasons"]] == [code.value for code in REASONS]
    assert {line["level"] for line in document["reasons"]} <= {
        level.value for level in MessageLevel
    }
