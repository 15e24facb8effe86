"""What claims say, whatever they are."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.httpkit.bearer.claims import check_type, read_claims
from gateway.httpkit.bearer.errors import InvalidTokenProblem
from gateway.httpkit.bearer.settings import IssuerSettings

NOW = 1_800_000_000.0
TRUST = IssuerSettings(issuer="https://idp.example.org", audiences=("us",))

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
subjects = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=255)


def claims(**more: Any) -> dict[str, Any]:
    return {"iss": TRUST.issuer, "aud": "us", "sub": "carol", "exp": NOW + 60} | more


@given(
    st.dictionaries(
        st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "groups", "name"]), anything
    )
)
def test_whatever_the_claims_are_they_are_read_or_refused(more: dict[str, Any]) -> None:
    try:
        speaker = read_claims(claims(**more), TRUST, NOW)
    except InvalidTokenProblem:
        return
    assert speaker.expires > NOW
    assert speaker.owner.startswith("oidc:")
    assert all(group.isprintable() for group in speaker.groups)


@given(anything)
def test_whatever_the_type_is_it_is_taken_or_refused(kind: Any) -> None:
    if isinstance(kind, str) and kind.lower() in {"jwt", "at+jwt", "application/at+jwt"}:
        return
    with pytest.raises(InvalidTokenProblem):
        check_type({"typ": kind})


@given(subjects, subjects, st.sampled_from(["https://a", "https://a/b"]), st.booleans())
def test_no_two_subjects_own_under_one_name(
    one: str, other: str, issuer: str, is_same_issuer: bool
) -> None:
    second = issuer if is_same_issuer else "https://b"

    def owner(subject: str, issuer: str) -> str:
        trust = IssuerSettings(issuer=issuer, audiences=("us",))
        return read_claims(claims(iss=issuer, sub=subject), trust, NOW).owner

    is_same = (one, issuer) == (other, second)
    assert (owner(one, issuer) == owner(other, second)) is is_same


@pytest.mark.parametrize(
    ("more", "refused"),
    [
        ({"exp": NOW - 29}, False),
        ({"exp": NOW - 30}, True),
        ({"nbf": NOW + 30}, False),
        ({"nbf": NOW + 31}, True),
        ({"iat": NOW + 31}, True),
        ({"exp": True}, True),
        ({"exp": float("inf")}, True),
        ({"exp": NOW * 1000}, True),
        ({"aud": ["them", "us"]}, False),
        ({"aud": ["them"]}, True),
        ({"aud": []}, True),
        ({"sub": "x" * 255}, False),
        ({"sub": "x" * 256}, True),
        ({"sub": "x\n"}, True),
        ({"iss": "https://idp.example.org/"}, True),
    ],
)
def test_the_limits_are_where_they_are_said_to_be(more: dict[str, Any], refused: bool) -> None:
    if refused:
        with pytest.raises(InvalidTokenProblem):
            read_claims(claims(**more), TRUST, NOW)
    else:
        read_claims(claims(**more), TRUST, NOW)


def test_groups_come_from_every_claim_and_the_name_from_the_first() -> None:
    speaker = read_claims(
        claims(
            **{"groups": ["a", "b"], "wlcg.groups": ["/c"], "entitlements": "d"},
            name="Carol",
            preferred_username="",
        ),
        TRUST,
        NOW,
    )
    assert speaker.groups == {"a", "b", "/c", "d"}
    assert speaker.username == "Carol"
    assert read_claims(claims(), TRUST, NOW).username == "carol"
