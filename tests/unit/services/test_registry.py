"""The registry: what a node's own answers taught."""

from datetime import UTC, datetime

import pytest

from gateway.clients.broker import BrokerClient
from gateway.clients.transport import AiohttpTransport
from gateway.domain.coverage import Outcome
from gateway.domain.node import BasicCredentials, NodeProfile
from gateway.domain.reasons import ReasonCode, reason
from gateway.services.registry import NodeRegistry

NOW = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)
PROFILE = NodeProfile(
    "alpha", "http://node.invalid", "uk", ("RSE",), BasicCredentials("head", "secret")
)


def registry_of(*profiles: NodeProfile) -> NodeRegistry:
    registry = NodeRegistry(lambda: NOW)
    for profile in profiles:
        registry.add(BrokerClient(profile, AiohttpTransport()))
    return registry


async def test_a_node_never_asked_claims_nothing() -> None:
    (snapshot,) = registry_of(PROFILE).snapshots()
    document = snapshot.to_document()
    assert document["last"] == {"outcome": None, "reason": None, "asked": None, "seen": None}
    assert document["latency_ms"] == {"mean": None, "p50": None, "p95": None}
    assert document["honours_idempotency"] is None
    assert document["storage"] == ["RSE"]


async def test_a_silent_node_was_asked_and_not_seen() -> None:
    registry = registry_of(PROFILE)
    why = reason(ReasonCode.CONNECTION_REFUSED)
    registry.get("alpha").note(Outcome.REFUSED, why, took_s=None, was_heard=False)
    last = registry.get("alpha").snapshot().to_document()["last"]
    assert last["asked"] == "2026-08-03T09:00:00Z"
    assert last["seen"] is None
    assert (last["outcome"], last["reason"]) == ("refused", "connection_refused")


async def test_an_answer_shows_in_the_latency() -> None:
    registry = registry_of(PROFILE)
    registry.get("alpha").note(Outcome.ANSWERED, None, took_s=0.15, was_heard=True)
    document = registry.get("alpha").snapshot().to_document()
    assert document["latency_ms"] == {"mean": 150, "p50": 200, "p95": 200}
    assert document["last"]["seen"] == "2026-08-03T09:00:00Z"


async def test_no_secret_is_shown() -> None:
    snapshot = registry_of(PROFILE).get("alpha").snapshot()
    assert "secret" not in repr(snapshot)
    assert "secret" not in str(snapshot.to_document())


async def test_what_the_settings_say_about_keys_is_not_unlearned() -> None:
    node = registry_of(NodeProfile("a", "http://a", honours_idempotency=True)).get("a")
    node.note_idempotency(was_echoed=False)
    assert node.honours_idempotency is True


async def test_names_are_unique() -> None:
    registry = registry_of(PROFILE)
    with pytest.raises(ValueError, match="alpha"):
        registry.add(BrokerClient(PROFILE, AiohttpTransport()))
    assert len(registry) == 1
    assert "alpha" in registry
    assert [node.name for node in registry] == ["alpha"]
    with pytest.raises(KeyError):
        registry.get("beta")
