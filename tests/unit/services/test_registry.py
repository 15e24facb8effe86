"""The registry: what a node's own answers taught."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from gateway.clients.broker import BrokerClient
from gateway.clients.exchange import (
    NodeError,
    NodeSessionUnknownError,
    NodeStatusError,
    NodeTimeoutError,
    NodeUnreachableError,
    Stage,
)
from gateway.clients.transport import AiohttpTransport
from gateway.domain.coverage import Outcome
from gateway.domain.health import Cause, HealthState
from gateway.domain.node import BasicCredentials, NodeProfile
from gateway.domain.reasons import ReasonCode, reason
from gateway.services.node_calls import NodeCalls
from gateway.services.registry import NodeRegistry
from gateway.settings import HealthSettings
from gateway.wire.secret import Secret

NOW = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)
PROFILE = NodeProfile(
    "alpha", "http://node.invalid", "uk", ("RSE",), BasicCredentials("head", Secret("secret"))
)

REFUSED = reason(ReasonCode.CONNECTION_REFUSED)
HANGS = reason(ReasonCode.HEADERS_TIMEOUT)


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
    assert document["latency_ms"] == {"mean": 150, "p50": 160, "p95": 160}
    assert document["last"]["seen"] == "2026-08-03T09:00:00Z"


async def test_no_secret_is_shown() -> None:
    snapshot = registry_of(PROFILE).get("alpha").snapshot()
    assert "secret" not in repr(snapshot)
    assert "secret" not in str(snapshot.to_document())


async def test_what_the_settings_say_about_keys_is_not_unlearned() -> None:
    node = registry_of(NodeProfile("a", "http://a", honours_idempotency=True)).get("a")
    node.note_idempotency(was_echoed=False)
    assert node.honours_idempotency is True


async def test_nothing_is_repeated_to_a_node_that_keeps_failing() -> None:
    registry = registry_of(PROFILE)
    node, calls = registry.get("alpha"), NodeCalls(registry)
    for _ in range(5):
        assert calls.may_retry("alpha")
        node.note(Outcome.REFUSED, REFUSED, took_s=None, was_heard=False)
    assert not node.may_retry()
    assert not calls.may_retry("alpha")
    assert not calls.may_retry("unknown")
    node.note(Outcome.ANSWERED, None, took_s=0.01, was_heard=True)
    assert node.may_retry()


async def test_a_node_that_wants_a_year_of_peace_gets_five_minutes() -> None:
    node = registry_of(PROFILE).get("alpha")
    node.heed(NodeStatusError(500, retry_after_s=60))
    node.heed(NodeStatusError(503))
    assert node.state().waits_until is None
    node.heed(NodeStatusError(429, retry_after_s=31_536_000))
    waits_until = node.state().waits_until
    assert waits_until is not None
    assert timedelta(seconds=299) < waits_until - NOW <= timedelta(seconds=300)
    node.heed(NodeStatusError(503, retry_after_s=1))
    assert node.state().waits_until == pytest.approx(waits_until, abs=timedelta(seconds=1))


async def test_a_refusal_with_a_time_to_come_back_is_no_failure() -> None:
    node = registry_of(PROFILE).get("alpha")
    error = NodeStatusError(503, retry_after_s=60)
    for _ in range(10):
        node.heed(error)
        node.note(error.outcome, error.reason, took_s=None, was_heard=True)
    assert node.may_retry()
    assert node.health.state is HealthState.UNKNOWN


async def test_calls_about_sessions_tell_only_whether_a_node_can_be_reached() -> None:
    settings = HealthSettings(failures=2, failing_for_s=0, grace_s=0)
    registry = NodeRegistry(lambda: NOW, settings=settings)
    for name in ("alpha", "beta"):
        registry.add(BrokerClient(NodeProfile(name, f"http://{name}"), AiohttpTransport()))
    alpha, beta = registry
    calls = NodeCalls(registry)

    async def call(name: str, error: NodeError | None = None) -> None:
        deadline = asyncio.get_running_loop().time() + 5
        with suppress(NodeError):
            async with calls.talking_to(name, deadline):
                if error is not None:
                    raise error

    for error in (NodeStatusError(500), NodeSessionUnknownError(), NodeTimeoutError(Stage.BODY)):
        for _ in range(3):
            await call("alpha", error)
    assert alpha.health.cause is Cause.ANSWERED
    await call("alpha", NodeUnreachableError(ReasonCode.CONNECTION_REFUSED))
    await call("beta")
    await call("alpha", NodeTimeoutError(Stage.CONNECT))
    assert (alpha.health.state, alpha.health.cause) == (HealthState.EJECTED, Cause.UNREACHABLE)
    assert beta.health.state is HealthState.UP
    assert [node.snapshot().in_flight for node in registry] == [0, 0]


async def test_a_busy_node_is_given_less_and_more_again_when_it_is_quick() -> None:
    now = [0.0]
    registry = NodeRegistry(lambda: NOW, monotonic=lambda: now[0])
    node = registry.add(BrokerClient(PROFILE, AiohttpTransport()))
    most = node.snapshot().limit
    for _ in range(10):
        now[0] += 10
        node.note(Outcome.TIMEOUT, HANGS, took_s=5.0, was_heard=False)
    cut = node.snapshot().limit
    assert cut < most
    for _ in range(cut):
        await node.acquire(asyncio.get_running_loop().time() + 5)
    for _ in range(50):
        node.note(Outcome.ANSWERED, None, took_s=0.1, was_heard=True)
    assert cut < node.snapshot().limit <= most


async def test_names_are_unique() -> None:
    registry = registry_of(PROFILE)
    with pytest.raises(ValueError, match="alpha"):
        registry.add(BrokerClient(PROFILE, AiohttpTransport()))
    assert len(registry) == 1
    assert "alpha" in registry
    assert [node.name for node in registry] == ["alpha"]
    with pytest.raises(KeyError):
        registry.get("beta")
