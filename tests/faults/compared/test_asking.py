"""Asking many sites of which some are at fault: public failures of other brokers, and this one."""

import asyncio
import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any, Final

import aiohttp
import pytest

from gateway.clock import SystemClock
from gateway.settings import FederationSettings
from gateway.wire.documents import Document, to_json
from gateway.wire.kinds import MONETARY_COST
from node_stub.appraisal import Appraisal
from node_stub.clock import SystemClock as NodeClock
from node_stub.config import FigureSettings, OfferSettings
from node_stub.platforms.base import PlatformError
from node_stub.platforms.simulated import SimulatedPlatform
from node_stub.rules import Figure
from tests.bench.measure import running as running_program
from tests.bench.open_load import Gun, Shot, outcomes, percentile
from tests.bench.site_nodes import Sort
from tests.faults.compared.sites import starting_at
from tests.support.faulty_nodes import refuses
from tests.support.gateway import GatewayProcess, running_gateway
from tests.support.misbehaving import misbehaving
from tests.support.node import ADMIN, QUICK, node_settings, running_node
from tests.support.requests import minimal_request

# -- one that is refused, one that hangs, one that drips -------------------------------------------


async def test_thanos_1453_a_site_that_hangs_mid_body_costs_only_its_own_offers(
    tmp_path: Path,
) -> None:
    """Thanos asked its stores at once and read their answers one after the other.

    A store that had begun to answer and then stalled timed out those behind it, although partial
    answers were on; one that was away altogether did not (thanos-io/thanos#1453, first told in
    #835; the time-out of a single request is still not kept to, #3456). proTES leaves its loop over
    the sites at the first that refuses the connection.

    Here each site has the whole deadline, for the body as well as for the head, and none of them
    waits for another: the one that is well is answered for, in time, and its offer can be accepted.
    """
    deadline_s, margin_s = 1.5, 1.5
    async with AsyncExitStack() as stack:
        dead = stack.enter_context(refuses())
        hung = await stack.enter_async_context(misbehaving("hung-mid-body"))
        drips = await stack.enter_async_context(misbehaving("drip"))
        fine = await stack.enter_async_context(running_node(tmp_path, node_settings(name="fine")))
        gateway = await stack.enter_async_context(
            running_gateway(
                {"dead": dead.url, "drips": drips.url, "fine": fine.url, "hung": hung.url},
                tmp_path / "gateway",
                federation=FederationSettings(deadline_s=deadline_s, connect_s=0.5),
            )
        )
        began = monotonic()
        answer = await gateway.ask(minimal_request())
        took_s = monotonic() - began
        assert answer.status == 303, answer.text
        found = {
            node: (entry["outcome"], entry["offers"])
            for node, entry in outcomes(answer.document).items()
        }
        assert found == {
            "dead": ("refused", 0),
            "drips": ("timeout", 0),
            "fine": ("answered", 2),
            "hung": ("timeout", 0),
        }
        assert outcomes(answer.document)["hung"]["reason"]["code"] == "body_timeout"
        assert deadline_s <= took_s < deadline_s + margin_s
        uuid = answer.document["offers"][0]["meta"]["uuid"]
        accepted = await gateway.move(uuid, "ACCEPTED", Prefer="handling=strict")
        assert accepted.status == 200, accepted.text


# -- one that cannot say what it has ---------------------------------------------------------------


class FailingEstimator(SimulatedPlatform):
    """Cannot say what it could run."""

    async def estimate(self, document: Document) -> Appraisal:
        del document
        raise PlatformError("the estimator has crashed")


class SilentEstimator(SimulatedPlatform):
    """Never says what it could run."""

    async def estimate(self, document: Document) -> Appraisal:
        del document
        await asyncio.Event().wait()
        raise AssertionError("nobody sets this event")


class StillClock(SystemClock):
    """Delays count from one instant, whenever a request comes in."""

    def __init__(self, present: datetime) -> None:
        self._present = present

    def now(self) -> datetime:
        return self._present


PRICES: Final = {"alpha": 0.4, "beta": 0.6, "gamma": 0.5}
PASSING: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)"
    r"|127\.0\.0\.1:\d+"
)
"""Identifiers, instants and addresses: what no two answers have in common."""


@pytest.mark.parametrize("estimator", [FailingEstimator, SilentEstimator])
async def test_karmada_cal_available_replicas_an_estimator_that_fails_changes_no_other_site(
    tmp_path: Path, estimator: type[SimulatedPlatform]
) -> None:
    """Karmada asks an estimator at each cluster how much it could take.

    When one of them failed, the answer of that estimator was dropped for all clusters, and each
    counted as though it had no limit (karmada-io/karmada, pkg/scheduler/core/util.go,
    ``calAvailableReplicas``; "unschedulable" taken for "no limit": karmada#5011).

    Here the site whose platform fails, or is silent, says NO and why. What the gateway makes of the
    others is what it makes of them when that site is well: the same order, and the same bytes but
    for identifiers, instants and the rank.
    """
    present = datetime.now(UTC).replace(microsecond=0)
    well = await answer_at(tmp_path / "well", present, SimulatedPlatform)
    ill = await answer_at(tmp_path / "ill", present, estimator)
    assert order_of(well) == ["alpha", "gamma", "beta"]
    assert order_of(ill) == ["alpha", "beta"]
    for node in ("alpha", "beta"):
        assert essence_of(ill, node) == essence_of(well, node)
        for answer in (well, ill):
            assert outcomes(answer)[node]["outcome"] == "answered"
    said = outcomes(ill)["gamma"]
    assert (said["outcome"], said["reason"]["code"]) == ("no", "node_said_no")
    assert "The platform cannot run anything now" in said["reason"]["values"]["detail"]


async def answer_at(at: Path, present: datetime, gamma: type[SimulatedPlatform]) -> Document:
    """What three new sites come to when gamma has such a platform."""
    async with AsyncExitStack() as stack:
        urls = {}
        for name, price in PRICES.items():
            folder = at / name
            folder.mkdir(parents=True)
            settings = node_settings(
                name=name,
                costs=FigureSettings(session=(Figure(MONETARY_COST, price, price),)),
                # Long enough for a platform that is well, on a busy machine.
                offers=OfferSettings(count=2, estimate_timeout_s=1.5),
            )
            platform = gamma if name == "gamma" else SimulatedPlatform
            node = await stack.enter_async_context(
                running_node(
                    folder,
                    settings,
                    platform=platform(QUICK, folder / "simulated.db", NodeClock(), Random(1)),
                )
            )
            urls[name] = node.url
        gateway = await stack.enter_async_context(
            running_gateway(urls, at / "gateway", clock=StillClock(present))
        )
        request = starting_at(present + timedelta(hours=1))
        answer = await gateway.ask(request, "?policy=cheapest")
        assert answer.status == 303, answer.text
        document: Document = answer.document
        return document


def order_of(answer: Document) -> list[str]:
    """The sites as their first offers come."""
    return list(dict.fromkeys(offer["federation"]["node"] for offer in answer["offers"]))


def essence_of(answer: Document, node: str) -> list[str]:
    """The offers of a site without what no two answers have in common, and without their rank."""
    texts = []
    for offer in answer["offers"]:
        # Each node is at another port in the second run, and so of another origin.
        moving = {"rank", "origin"}
        federation = {k: v for k, v in offer["federation"].items() if k not in moving}
        if federation["node"] == node:
            text = to_json({**offer, "federation": federation}).decode()
            texts.append(PASSING.sub("*", text))
    assert texts
    return texts


# -- forty of them ---------------------------------------------------------------------------------


SITES: Final = 40
FAULTY: Final = 0.25
DEADLINE_S: Final = 1.0
MARGIN_S: Final = 1.0
"""Allowed beyond the deadline: two cores have the gateway, the sites, those who ask and all else
that is tested at the time. The exact figure comes from ``tests.bench.bench_sites``."""

SOON: Final[Document] = {"grace_s": 0, "failures": 3, "failing_for_s": 0.5}
"""Leaves alone who fails within the time that is measured."""

CALLERS: Final = 2
SECONDS: Final = 5.0
"""How long is measured while the sites are not known yet, and then as long again."""


@pytest.mark.parametrize(
    ("asking", "most"),
    [
        # Each once, and a quarter of them a second time at most.
        pytest.param({}, SITES * 1.25, id="all-at-once"),
        # The default limit is ten offers, which is five sites. The second wave is for the sites of
        # the first that are at fault, as long as that is not known.
        pytest.param(
            {"all_up_to": 8, "wave_size": 8, "wave_explored": 1}, SITES / 2, id="in-waves"
        ),
    ],
)
async def test_kueue_5141_forty_sites_of_which_ten_are_slow_answer_in_time_for_few_messages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asking: Document, most: float
) -> None:
    """MultiKueue copies each workload to all its clusters at once.

    With forty of them that is dear, and it has effects: each copy may evict what runs there
    (kubernetes-sigs/kueue#5141; the cure names clusters in rounds of five minutes). How long an
    answer takes, by the number of sites and the share of slow ones, is published by none of them.

    Here p99 stays within the deadline, whether all are asked or waves of them, and what is sent is
    bounded: counted by the sites themselves.
    """
    command = ["-m", "tests.bench.site_nodes", str(SITES), str(FAULTY), str(2 * DEADLINE_S), "1"]
    with running_program(command, tmp_path / "sites.log") as started:
        names = [f"site-{number:02}" for number in range(SITES)]
        sorts = dict(zip(names, started.ready["sorts"], strict=True))
        urls = dict(zip(names, started.ready["urls"], strict=True))
        healthy = [name for name in names if sorts[name] == Sort.HEALTHY]
        assert len(healthy) == SITES * (1 - FAULTY)
        gateway = GatewayProcess(
            urls, tmp_path, federation={"deadline_s": DEADLINE_S}, asking=asking, health=SOON
        )
        await gateway.start()
        try:
            headers = {"Content-Type": "application/json", **ADMIN.headers}
            async with Gun(gateway.url, "/requests", to_json(minimal_request()), headers) as gun:
                cold = await gun.saturate(CALLERS, SECONDS)
                warm = await gun.saturate(CALLERS, SECONDS)
            counts = await counts_at(urls[healthy[0]])
        finally:
            await gateway.stop()
    shots = [*cold, *warm]
    for shot in shots:
        assert shot.status == 303, shot.body[:1000]
        assert len(outcomes(shot.document)) == SITES
        assert len(shot.document["offers"]) == 10
    messages = counts["requests"] / len(shots)
    with capsys.disabled():
        print(
            f"\n{SITES} sites, {FAULTY:.0%} slow or dead, {asking or 'all at once'}: at first"
            f" {told(cold)}, then {told(warm)}; {messages:.1f} messages for each request"
        )
    assert percentile([shot.took_s for shot in shots], 0.99) <= DEADLINE_S + MARGIN_S
    assert messages <= most


def told(shots: Sequence[Shot]) -> str:
    """How long they took, for people."""
    times_ms = [shot.took_s * 1000 for shot in shots]
    p50, p99 = percentile(times_ms, 0.5), percentile(times_ms, 0.99)
    return f"p50 {p50:.0f} and p99 {p99:.0f} ms of {DEADLINE_S * 1000:.0f} ({len(shots)} requests)"


async def counts_at(url: str) -> dict[str, Any]:
    """What all sites were asked: they are one process."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/counts") as answer:
        found: dict[str, Any] = await answer.json()
        return found
