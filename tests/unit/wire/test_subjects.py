"""People of issuers of tokens, and what is owned by them."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.identity import Subject


@given(st.text(), st.text().filter(lambda issuer: "@" not in issuer))
def test_each_owner_is_of_one_subject(subject: str, issuer: str) -> None:
    assert Subject.of_owner(Subject(issuer, subject).owner) == Subject(issuer, subject)


@pytest.mark.parametrize("owner", [str(UUID(int=7)), "", "anonymous"])
def test_nobody_else_is_taken_for_a_subject(owner: str) -> None:
    assert Subject.of_owner(owner) is None
