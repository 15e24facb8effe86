"""Messages are complete, and never fail for want of a value."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.faults import validate
from gateway.wire.messages import fill, message
from gateway.wire.phases import MessageLevel
from gateway.wire.schemas.components import MessageSchema

NOW = datetime(2026, 8, 3, 9, tzinfo=UTC)


def test_a_message_is_complete() -> None:
    found = message(
        "urn:limit",
        MessageLevel.WARN,
        "${cores} exceed ${limit}",
        {"cores": "8", "limit": "4"},
        NOW,
    )
    assert found == {
        "kind": "urn:limit",
        "time": "2026-08-03T09:00:00Z",
        "level": "WARN",
        "template": "${cores} exceed ${limit}",
        "values": {"cores": "8", "limit": "4"},
        "message": "8 exceed 4",
    }
    assert type(found["level"]) is str


def test_a_name_without_value_stays_readable() -> None:
    assert fill("${a} of ${b}, ${}, $a, ${", {"a": "1"}) == "1 of ${b}, ${}, $a, ${"


def test_values_are_not_filled_in_again() -> None:
    assert fill("${a}", {"a": "${b}", "b": "2"}) == "${b}"


@given(st.text(), st.dictionaries(st.text(), st.text()), st.sampled_from(MessageLevel))
def test_any_template_gives_a_valid_message(
    template: str, values: dict[str, str], level: MessageLevel
) -> None:
    assert validate(MessageSchema(), message("urn:any", level, template, values, NOW)) == []
