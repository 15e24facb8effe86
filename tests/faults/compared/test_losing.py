"""Losing sites and heads: public failures of other brokers, and this one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from gateway.wire.documents import Document
from tests.faults.compared.sites import SETTLES_S, two_sites
from tests.support.crashing import (
    QUICK_SECTIONS,
    Federation,
    KillableGateway,
    is_update_of,
    killable_federation,
)
from tests.support.gateway import GatewayUnderTest
from tests.support.lost_node import (
    PATIENT_GRACE,
    RUNS_ON,
    WATCHFUL,
    WISH,
    LostNode,
    accept_at_alpha,
    kinds_of,
    message_of,
)
from tests.support.node import QUICK
from tests.support.nursery import Nursery
from tests.support.pair import LASTING, PATIENT, STRICT
from tests.support.proxy import Moment
from tests.support.requests import minimal_request
from tests.support.stores import Store

UNDERWAY: Final = ("ACCEPTED", "WAITING", "PREPARING", "AVAILABLE", "RUNNING", "RELEASING")
PREPARES_FOR_EVER: Final[Document] = {
    "prepare_s": 0,
    "run_s": 0,
    "release_s": 0,
    "hang": ["prepare"],
}
RUNS_FOR_EVER: Final[Document] = PREPARES_FOR_EVER | {"hang": ["run"]}

# -- a site that is lost ---------------------------------------------------------------------------


async def test_kueue_jobs_test_a_site_lost_for_less_than_the_grace_keeps_its_work(
    nursery: Nursery, tmp_path: Path
) -> None:
    """MultiKueue's own tests of a worker that is lost: a brief loss must not evict.

    Users were hit by the accident of the cause all the same: one kind of loss left work stuck,
    another evicted it for a blip (kubernetes-sigs/kueue, test/integration/multikueue/jobs_test.go;
    #10428, #11559, #13238).

    Here the site's broker is killed and comes back: nothing was asked of any other site.
    """
    async with two_sites(
        nursery,
        tmp_path,
        PREPARES_FOR_EVER,
        QUICK,
        sessions=PATIENT_GRACE,
        commands=LASTING,
    ) as sites:
        seen = sites.seen
        seen.session = await accept_at_alpha(seen.gateway, WISH)
        await sites.broker.kill()
        await seen.says("urn:resubmission-waiting", within_s=SETTLES_S)
        await sites.broker.start()
        await seen.says_no_more("urn:last-known", "urn:resubmission-waiting")
        assert (await seen.read())["phase"] in UNDERWAY
        assert await seen.counted("begun") == 0
        assert seen.beta.seen.count(("POST", "/requests")) == 1
        assert seen.ran() == {seen.session}


async def test_kueue_jobs_test_a_site_lost_for_longer_than_the_grace_loses_its_work_once(
    nursery: Nursery, tmp_path: Path
) -> None:
    """The other half of it: a longer loss must move the work, and a return must not double it.

    Here the work is asked for once more, accepted elsewhere once, and what the lost site still
    believes to have is ended there when it is back.
    """
    async with two_sites(
        nursery, tmp_path, PREPARES_FOR_EVER, QUICK, sessions=WATCHFUL, commands=LASTING
    ) as sites:
        seen = sites.seen
        seen.session = await accept_at_alpha(seen.gateway, WISH)
        await sites.broker.kill()
        said = await seen.says("urn:resubmitted-as", within_s=SETTLES_S)
        successor = str(said["values"]["session"])
        await seen.becomes("COMPLETED", uuid=successor, within_s=SETTLES_S)
        await sites.broker.start()
        await seen.at_node("alpha", seen.session, "CANCELLED")
        await seen.says_no_more("urn:command-pending")
        assert (await seen.read())["phase"] == "CANCELLED"
        assert await seen.counted("begun") == await seen.counted("moved") == 1
        assert seen.beta.seen.count(("POST", "/requests")) == 2
        assert seen.ran() == {seen.session, successor}


async def test_nomad_8198_a_cancel_with_a_site_unreachable_is_pending_there_and_converges(
    nursery: Nursery, tmp_path: Path
) -> None:
    """``nomad job stop`` of a job in several regions stopped it in the one that was addressed.

    (hashicorp/nomad#8198, 2020. The cure is a flag for all regions, and a warning without: #8258.)

    Here one person's work runs at two sites of which one is unreachable. What is cancelled at the
    other ends there; of the one that cannot be told it is said where it is still pending, for as
    long as that is so, and it ends when the site is back although nobody asks again.
    """
    async with two_sites(
        nursery, tmp_path, RUNS_FOR_EVER, RUNS_ON, sessions=PATIENT, commands=LASTING
    ) as sites:
        seen = sites.seen
        runs = {node: await runs_at(seen, node) for node in ("alpha", "beta")}
        await sites.broker.kill()
        answers = {node: await seen.gateway.move(uuid, "CANCELLED") for node, uuid in runs.items()}
        assert {answer.status for answer in answers.values()} == {200}
        for shown in (answers["alpha"].document, await seen.read(runs["alpha"])):
            assert shown["phase"] == "CANCELLED"
            said = message_of(shown, "urn:command-pending")
            assert said["message"].startswith("CANCELLED is pending at node alpha")
        await seen.at_node("beta", runs["beta"], "CANCELLED")
        assert "urn:command-pending" in kinds_of(await seen.read(runs["alpha"]))
        await sites.broker.start()
        await seen.at_node("alpha", runs["alpha"], "CANCELLED")
        for seen.session in runs.values():
            await seen.says_no_more("urn:command-pending")
            assert (await seen.read())["phase"] == "CANCELLED"


async def runs_at(seen: LostNode, node: str) -> str:
    """A session that runs at this node."""
    answer = await seen.gateway.ask(minimal_request(), f"?nodes={node}&per_node=1")
    assert answer.status == 303, answer.text
    uuid: str = answer.document["offers"][0]["meta"]["uuid"]
    accepted = await seen.gateway.move(uuid, "ACCEPTED", **STRICT)
    assert accepted.status == 200, accepted.text
    await seen.becomes("RUNNING", uuid=uuid, within_s=SETTLES_S)
    return uuid


# -- a head that is lost ---------------------------------------------------------------------------


@asynccontextmanager
async def two_heads(
    nursery: Nursery, store: Store, at: Path
) -> AsyncIterator[tuple[Federation, GatewayUnderTest]]:
    """A federation whose gateway can be killed, and another gateway on the same database."""
    async with killable_federation(nursery, at, expires_s=60) as federation:
        folder = at / "other"
        folder.mkdir()
        urls = {name: proxy.url for name, proxy in federation.proxies.items()}
        shared = {"database": store.url(at / "gateway")}
        other = KillableGateway(nursery, urls, folder, **QUICK_SECTIONS | shared)
        await other.start()
        try:
            yield federation, GatewayUnderTest(other.url, federation.client.session)
        finally:
            await other.kill()


@pytest.mark.parametrize("store_of_gateways", ["postgres"], indirect=True)
@pytest.mark.parametrize(
    ("moment", "is_lost"),
    [
        pytest.param(Moment.ASKED, True, id="before-the-site-was-told"),
        pytest.param(Moment.ASKED, False, id="before-the-site-heard-it"),
        pytest.param(Moment.ANSWERED, True, id="before-the-answer-came"),
        pytest.param(Moment.PASSED_ON, True, id="when-the-answer-came"),
    ],
)
async def test_skypilot_6431_a_head_killed_during_an_accept_leaves_one_session_at_one_site(
    nursery: Nursery, store: Store, tmp_path: Path, moment: Moment, is_lost: bool
) -> None:
    """SkyPilot's API server is one process; that it could be several was asked for, and went stale.

    (skypilot-org/skypilot#6431; #6314 pins a client to one replica, as logs are local to it.)

    Here two heads share a PostgreSQL. The one that is accepting is killed at each step; at the
    other, which knew nothing of it, a second offer of the set cannot be accepted, the first one
    again comes to the same session, and one site ran it once.
    """
    async with two_heads(nursery, store, tmp_path) as (federation, other):
        answer = await federation.client.ask(minimal_request())
        assert answer.status == 303, answer.text
        offers: list[Document] = answer.document["offers"]
        best = offers[0]
        node, uuid = best["federation"]["node"], best["meta"]["uuid"]
        sibling = next(one for one in offers if one["federation"]["node"] != node)
        gates = federation.stop_at(moment, is_update_of(uuid), node)
        await federation.killed_during(federation.client.move(uuid, "ACCEPTED"), gates)
        if is_lost:
            gates[0].lose()
        federation.client = other
        second = await other.move(sibling["meta"]["uuid"], "ACCEPTED", **STRICT)
        assert second.status == 409, second.text
        gates[0].open()
        federation.proxies[node].remove_gates()
        again = await other.move(uuid, "ACCEPTED")
        assert again.status == 200, again.text
        assert again.document["meta"]["uuid"] == uuid
        last = await federation.comes_to_rest(offers)
        assert last.pop(uuid) == "COMPLETED"
        assert set(last.values()) == {"REJECTED"}
        assert federation.ran() == {uuid}
