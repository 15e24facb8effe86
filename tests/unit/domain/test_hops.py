"""Whom a request has met on its way."""

from uuid import uuid4

from gateway.domain.hops import have_met, hop_of


def test_two_gateways_of_one_name_are_told_apart() -> None:
    one, two = hop_of("gateway", str(uuid4())), hop_of("gateway", str(uuid4()))
    assert have_met([one], one)
    assert not have_met([one], two)
    assert have_met([two, one], two)


def test_a_gateway_is_known_by_its_identity_whatever_it_is_called() -> None:
    identity = str(uuid4())
    assert have_met([hop_of("uk", identity)], identity)
    assert have_met([hop_of("uk", identity)], hop_of("renamed", identity))


def test_an_entry_without_identity_means_whoever_has_that_name_or_url() -> None:
    own = hop_of("head", str(uuid4()))
    assert have_met(["srcnet", "head"], own)
    assert not have_met(["srcnet"], own)
    assert have_met(["https://uk.example.org"], "https://uk.example.org/")
    assert not have_met([], own)
