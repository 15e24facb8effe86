"""What clients say in ``Prefer``."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.headers import Preferences, parse_prefer


@pytest.mark.parametrize(
    ("values", "preferences"),
    [
        ([], Preferences()),
        (["wait=10"], Preferences(wait_s=10)),
        (["wait=2.5, return=representation"], Preferences(wait_s=2.5, representation=True)),
        (["handling=strict", "wait=3"], Preferences(wait_s=3, strict=True)),
        (['Wait="7"; foo=bar, RETURN=Representation'], Preferences(wait_s=7, representation=True)),
        (["return=minimal, handling=lenient"], Preferences()),
        (["wait=1, wait=2"], Preferences(wait_s=1)),
        (["wait=-1"], Preferences()),
        (['wait=soon, respond-async, x="a, wait=5"'], Preferences()),
        (["wait=1e3"], Preferences()),
        (["wait=٣"], Preferences()),
        (["wait=" + "9" * 400], Preferences()),
        (['wait=."', "=", ";", ",,"], Preferences()),
    ],
)
def test_preferences_are_read(values: list[str], preferences: Preferences) -> None:
    assert parse_prefer(values) == preferences


@given(st.lists(st.text('waitreturn=,;"\\ .0123'), max_size=3))
def test_no_header_fails(values: list[str]) -> None:
    wait_s = parse_prefer(values).wait_s
    assert wait_s is None or wait_s >= 0
